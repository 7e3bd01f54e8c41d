"use strict";
// Two or more models side by side; the first chosen is the reference. The choice is in the address.
const benchOutcomes = (() => {
  const { cells, groups } = JSON.parse(document.getElementById("cells").textContent);
  const tables = document.getElementById("tables");
  const outcomes = new Map();
  let chosen = [];
  let comparison = null;

  const percent = (share) => (100 * share).toFixed(1);
  const points = (share) => `${share < 0 ? "−" : "+"}${Math.abs(100 * share).toFixed(1)}`;
  const pValue = (p) => (p < 0.001 ? "< 0.001" : p.toFixed(3));
  const count = (bits) => bits.split("1").length - 1;
  const isCell = (id) => Object.prototype.hasOwnProperty.call(cells, id);

  function element(name, text, attributes = {}) {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  }

  function load(id) {
    return new Promise((done) => {
      if (outcomes.has(id)) return done();
      const script = element("script", undefined, {
        src: `models/${encodeURIComponent(id)}/outcomes.js`,
      });
      script.onload = script.onerror = () => done();
      document.head.append(script);
    });
  }

  // What is measured of a cell: clean, each attack and each worst case, as bits of all examples and
  // of those that it is of; an attack without a result has its status only.
  function measures(id) {
    const found = outcomes.get(id);
    if (!found || !found.clean) return [];
    const all = "1".repeat(found.clean.length);
    const rows = [{ key: "clean", measure: "clean", bits: found.clean, ran: all, suite: null }];
    for (const [suite, { attacks, without, bound, exposure }] of Object.entries(found.suites)) {
      for (const [name, bits, ran] of attacks) {
        rows.push({ key: `${suite}/${name}`, measure: name, bits, ran: ran || all, suite });
      }
      for (const [name, status] of Object.entries(without)) {
        rows.push({ key: `${suite}/${name}`, measure: name, status, suite });
      }
      if (!attacks.length) continue;
      const worst = [...found.clean].map((_, i) => (attacks.every((one) => one[1][i] === "1") ? "1" : "0"));
      rows.push({
        key: `${suite} worst case`, measure: `worst case of ${suite}`, bits: worst.join(""), ran: all, suite, bound, exposure,
      });
    }
    return rows;
  }

  // Whether two worst cases are over the same attacks on the same examples.
  function sameExposure(ours, other) {
    if (ours === undefined) return true; // no worst case
    if (!ours || !other || String(Object.keys(ours).sort()) !== String(Object.keys(other).sort())) return false;
    return Object.entries(ours).every(([name, ran]) => ran === null || other[name] === null || ran === other[name]);
  }

  // How many comparisons the family of a pair holds: all pairs of the rows of its groups.
  function comparisons(a, b, suite) {
    const [ours, theirs] = [cells[a].groups, cells[b].groups];
    const common = Object.keys(ours).filter((name) => name in theirs && (suite === null || name === suite));
    return Math.max(1, ...common.map((name) => {
      const [[group, rows], [other, more]] = [ours[name], theirs[name]];
      return benchPaired.pairs(group === other ? rows : rows + more);
    }));
  }

  function paired(a, b) {
    const [first, second] = [outcomes.get(a), outcomes.get(b)];
    const same = first && second && first.clean && second.clean &&
      first.fingerprint === second.fingerprint && String(first.test_index) === String(second.test_index);
    if (!same) return null;
    const theirs = new Map(measures(b).map((one) => [one.key, one]));
    const both = measures(a).map((one) => [one, theirs.get(one.key)]).filter(([one, other]) =>
      other && one.bits && other.bits && sameExposure(one.exposure, other.exposure));
    return both.map(([one, other]) => {
      let [better, worse, n] = [0, 0, 0];
      for (let i = 0; i < one.bits.length; i += 1) {
        if (one.ran[i] === "0" || other.ran[i] === "0") continue;
        n += 1;
        if (one.bits[i] > other.bits[i]) better += 1;
        if (one.bits[i] < other.bits[i]) worse += 1;
      }
      if (!n) return null;
      const family = comparisons(a, b, one.suite);
      return {
        measure: one.measure, only_reference: better, only_other: worse, comparisons: family,
        ...benchPaired.difference(worse, better, n, family),
      };
    }).filter((row) => row);
  }

  function compute() {
    const side = chosen.map((id) => ({
      cell: id,
      label: cells[id].label,
      cost: cells[id].cost,
      training: cells[id].training,
      labels_used: cells[id].labels_used,
      trust: Object.entries(cells[id].trust).map(([suite, told]) => `${told} (${suite})`).join("; "),
      measures: measures(id).map(({ key, measure, bits, ran, status, bound = false }) => {
        if (!bits) return { key, measure, status };
        const correct = [...bits].filter((bit, i) => bit === "1" && ran[i] === "1").length;
        const [low, high] = benchPaired.wilson(correct, count(ran));
        return {
          key, measure, correct, attacked: count(ran), accuracy: correct / count(ran), low: bound ? 0 : low, high, bound,
        };
      }),
    }));
    const pairs = chosen.slice(1).map((id) => ({ reference: chosen[0], other: id, rows: paired(chosen[0], id) }));
    return { side, pairs };
  }

  function table(title, heads, rows) {
    const id = `table-${tables.children.length}`;
    const section = element("section", undefined, { "aria-labelledby": id });
    const scroll = element("div", undefined, { class: "scroll", role: "region", tabindex: "0", "aria-label": `${title}: table` });
    const made = element("table", undefined, { class: "simple" });
    const head = made.createTHead().insertRow();
    heads.forEach((one, place) => {
      const cell = element("th", undefined, { scope: "col", ...(place ? { class: "number" } : {}) });
      cell.append(one);
      head.append(cell);
    });
    const body = made.createTBody();
    for (const [name, ...values] of rows) {
      const row = body.insertRow();
      row.append(element("th", name, { scope: "row" }));
      for (const value of values) row.append(element("td", value, { class: "number" }));
    }
    section.append(element("h2", title, { id }), scroll);
    scroll.append(made);
    tables.append(section);
    return section;
  }

  function modelHead(one, place) {
    const head = document.createDocumentFragment();
    head.append(element("a", one.label, { href: `models/${encodeURIComponent(one.cell)}/index.html` }));
    head.append(element("span", place ? "" : "reference", { class: "variant" }));
    const remove = element("button", "Remove", { type: "button", class: "no-print", "aria-label": `Remove ${one.label}` });
    remove.addEventListener("click", () => choose(chosen.filter((id) => id !== one.cell)));
    head.append(remove);
    return head;
  }

  function sideBySide({ side }) {
    const names = new Map(side.flatMap((one) => one.measures.map((row) => [row.key, row.measure])));
    const rows = [...names].map(([key, name]) => [name, ...side.map((one) => {
      const row = one.measures.find((other) => other.key === key);
      if (!row || row.status) return row ? row.status.replace("not-applicable", "n/a") : "–";
      return `${row.bound ? "≤ " : ""}${percent(row.accuracy)} (${percent(row.low)}–${percent(row.high)})`;
    })]);
    rows.push(["training cost, GE", ...side.map((one) => one.cost)]);
    rows.push(["training time", ...side.map((one) => one.training)]);
    rows.push(["labels used to adapt", ...side.map((one) => one.labels_used)]);
    rows.push(["trust checks passed", ...side.map((one) => one.trust)]);
    const made = table("Side by side", ["Accuracy in % with 95 % interval", ...side.map(modelHead)], rows);
    made.id = "side";
  }

  function differences({ pairs }) {
    for (const { reference, other, rows } of pairs) {
      const title = `${cells[other].label} less ${cells[reference].label}`;
      if (!rows) {
        const section = element("section");
        section.append(element("h2", title), element("p", "No paired test: they attacked other examples or other data."));
        tables.append(section);
        continue;
      }
      const made = table(title, ["", "Difference", "95 % interval", "Right here only", "Right in the reference only", "p, corrected", "Verdict"],
        rows.map((row) => [
          row.measure, points(row.difference), `${points(row.low)} to ${points(row.high)}`, row.only_other,
          row.only_reference, pValue(row.p_corrected),
          row.p_corrected <= 0.05 ? (row.difference > 0 ? "better" : "worse") : "can't be told apart",
        ]));
      made.className = "pair";
    }
  }

  async function show() {
    await Promise.all(chosen.map(load));
    tables.replaceChildren();
    comparison = chosen.length ? compute() : null;
    document.getElementById("download").hidden = chosen.length < 2;
    const missing = chosen.filter((id) => !outcomes.has(id)).map((id) => cells[id].label);
    const state = document.getElementById("state");
    if (missing.length) state.textContent = `The outcomes of ${missing.join(", ")} can't be read.`;
    else if (!chosen.length) state.textContent = "Choose two or more models here or on the leaderboard.";
    else if (chosen.length === 1) state.textContent = "One model is chosen; add another to compare it with.";
    else state.textContent = `${chosen.length} models; differences are to the first.`;
    if (!comparison) return;
    sideBySide(comparison);
    differences(comparison);
  }

  function choose(ids) {
    chosen = [...new Set(ids)].filter(isCell);
    const query = new URLSearchParams(chosen.map((id) => ["cell", id])).toString();
    history.replaceState(null, "", location.pathname + (query ? `?${query}` : ""));
    return show();
  }

  const select = document.getElementById("candidates");
  for (const group of groups) {
    const made = element("optgroup", undefined, { label: group.title });
    for (const id of group.cells) made.append(element("option", cells[id].label, { value: id }));
    select.append(made);
  }
  select.addEventListener("change", () => {
    const id = select.value;
    select.value = "";
    if (id) choose([...chosen, id]);
  });
  document.getElementById("add").addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("download").addEventListener("click", () => {
    const link = element("a", undefined, { download: "comparison.json" });
    link.href = URL.createObjectURL(new Blob([JSON.stringify(comparison, null, 2)], { type: "application/json" }));
    link.click();
    URL.revokeObjectURL(link.href);
  });
  document.getElementById("add").hidden = false;
  addEventListener("popstate", () => location.reload());
  choose(new URLSearchParams(location.search).getAll("cell"));
  return (id, found) => outcomes.set(id, found);
})();
