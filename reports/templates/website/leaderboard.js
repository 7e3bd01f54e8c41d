"use strict";
// Sorting, filtering and choosing rows; the choice is kept in the address.
(() => {
  const form = document.getElementById("choice");
  if (!form) return;
  const values = JSON.parse(document.getElementById("values").textContent);
  const table = document.getElementById("board");
  const heads = [...table.tHead.rows[0].cells];
  const chosen = new Set();
  const bodies = [...table.tBodies].map((body) => ({
    body,
    head: body.rows[0],
    rows: [...body.rows].slice(1).map((element) => ({ element })),
  }));
  const rows = bodies.flatMap((one) => one.rows);
  rows.forEach((row, place) => {
    row.values = values.rows[place];
    row.text = row.element.textContent.toLowerCase();
    row.filled = values.optional.filter((one) => row.element.cells[one].textContent !== "–");
  });
  const index = Object.fromEntries(values.columns.map((name, place) => [name, place]));
  const filters = [...form.elements].filter((one) => one.name && !["q", "sort"].includes(one.name));
  const ascending = new Set(values.ascending);
  let reversed = false;

  function set(select, wanted, otherwise) {
    select.value = [...select.options].some((one) => one.value === wanted) ? wanted : otherwise;
  }

  function read() {
    const given = new URLSearchParams(location.search);
    for (const select of filters) set(select, given.get(select.name), "");
    set(form.elements.sort, given.get("sort"), "rank");
    form.elements.q.value = given.get("q") ?? "";
    reversed = given.get("order") === "reversed";
  }

  function write() {
    const choice = new URLSearchParams();
    for (const select of filters) if (select.value) choice.set(select.name, select.value);
    if (form.elements.q.value) choice.set("q", form.elements.q.value);
    if (form.elements.sort.value !== "rank") choice.set("sort", form.elements.sort.value);
    if (reversed) choice.set("order", "reversed");
    const query = choice.toString();
    history.replaceState(null, "", location.pathname + (query ? `?${query}` : "") + location.hash);
  }

  function matches(row) {
    const words = form.elements.q.value.toLowerCase().split(/\s+/);
    return (
      filters.every((select) => !select.value || row.values[index[select.name]] === select.value) &&
      words.every((word) => row.text.includes(word))
    );
  }

  function order(a, b) {
    const key = index[form.elements.sort.value];
    const [x, y] = [a.values[key], b.values[key]];
    if (x === null || y === null) return (x === null) - (y === null);
    const sign = ascending.has(form.elements.sort.value) === reversed ? -1 : 1;
    return sign * (typeof x === "string" ? x.localeCompare(y) : x - y);
  }

  function show() {
    let count = 0;
    const seen = heads.map(() => false);
    for (const { body, head, rows: mine } of bodies) {
      const sorted = form.elements.sort.value === "rank" && !reversed ? mine : [...mine].sort(order);
      const shown = sorted.filter(matches);
      count += shown.length;
      for (const row of shown) {
        for (const place of row.filled) seen[place] = true;
      }
      body.replaceChildren(...(shown.length ? [head] : []), ...shown.map((row) => row.element));
    }
    for (const place of values.optional) table.classList.toggle(`no${place}`, !seen[place]);
    for (const head of heads) {
      const active = head.dataset.sort === form.elements.sort.value;
      const up = ascending.has(head.dataset.sort) !== reversed;
      if (active) head.setAttribute("aria-sort", up ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    }
    document.getElementById("count").textContent =
      count === rows.length ? `${count} rows` : `${count} of ${rows.length} rows`;
    document.getElementById("empty").hidden = count > 0;
  }

  function change() {
    write();
    show();
  }

  function sortBy(name) {
    reversed = form.elements.sort.value === name ? !reversed : false;
    form.elements.sort.value = name;
    change();
  }

  function choose() {
    const bar = document.getElementById("chosen");
    const link = bar.querySelector("a");
    const query = new URLSearchParams([...chosen].map((id) => ["cell", id]));
    bar.hidden = chosen.size === 0;
    link.href = `compare.html?${query}`;
    link.textContent = `Compare ${chosen.size} ${chosen.size === 1 ? "row" : "rows"}`;
  }

  for (const head of heads) {
    if (!head.dataset.sort) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sortBy(head.dataset.sort));
    head.append(button);
  }
  for (const row of rows) {
    const box = document.createElement("input");
    box.type = "checkbox";
    box.value = row.values[index.cell];
    box.setAttribute("aria-label", `Compare ${row.values[index.label]}`);
    row.element.querySelector("th").prepend(box);
  }
  table.addEventListener("change", (event) => {
    for (const box of table.querySelectorAll("input")) {
      if (box.value === event.target.value) box.checked = event.target.checked;
    }
    chosen[event.target.checked ? "add" : "delete"](event.target.value);
    choose();
  });
  table.addEventListener("click", (event) => {
    const row = event.target.closest("tbody tr:not(.setting)");
    const plain = !event.ctrlKey && !event.metaKey && !event.shiftKey && !String(getSelection());
    if (row && plain && !event.target.closest("a, button, input")) row.querySelector("a").click();
  });
  document.querySelector("#chosen button").addEventListener("click", () => {
    for (const row of rows) row.element.querySelector("input").checked = false;
    chosen.clear();
    choose();
  });
  form.addEventListener("change", change);
  form.elements.q.addEventListener("input", change);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(() => {
    reversed = false;
    change();
  }));
  document.getElementById("clear").addEventListener("click", () => form.reset());
  document.getElementById("reverse").addEventListener("click", () => {
    reversed = !reversed;
    change();
  });
  addEventListener("popstate", () => {
    read();
    show();
  });
  form.hidden = false;
  read();
  show();
})();
