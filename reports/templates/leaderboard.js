"use strict";
// Sorting, filtering and choosing rows; the choice is kept in the address.
(() => {
  const form = document.getElementById("choice");
  if (!form) return;
  const values = JSON.parse(document.getElementById("values").textContent);
  const table = document.getElementById("board");
  const chosen = new Set();
  const bodies = [...table.tBodies].map((body) => ({
    body,
    above: [...body.rows].slice(0, 2), // the group's title, and the heads of its columns
    rows: [...body.rows].slice(2).map((element) => ({ element })),
  }));
  const heads = [...bodies[0].above[1].cells];
  const everyHead = [...table.querySelectorAll(".heads th")];
  const rows = bodies.flatMap((one) => one.rows);
  rows.forEach((row, place) => {
    row.values = values.rows[place];
    row.text = row.element.textContent.toLowerCase();
    row.filled = values.optional.filter((one) => row.element.cells[one].textContent !== "–");
  });
  const index = Object.fromEntries(values.columns.map((name, place) => [name, place]));
  const filters = [...form.elements].filter((one) => one.name && !["q", "sort"].includes(one.name));
  const ascending = new Set(values.ascending);
  const long = rows.length > 150;
  let widths = [];
  const collator = new Intl.Collator("en");
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

  function matcher() {
    const wanted = filters.filter((one) => one.value).map((one) => [index[one.name], one.value]);
    const words = form.elements.q.value.toLowerCase().split(/\s+/).filter(Boolean);
    return (row) =>
      wanted.every(([place, value]) => row.values[place] === value) &&
      words.every((word) => row.text.includes(word));
  }

  // Rows of one body in the order asked for; what has no value comes last.
  function sorter() {
    const sort = form.elements.sort.value;
    if (sort === "rank" && !reversed) return (mine) => mine;
    const key = index[sort];
    const sign = ascending.has(sort) === reversed ? -1 : 1;
    return (mine) => [...mine].sort((a, b) => {
      const [x, y] = [a.values[key], b.values[key]];
      if (x === null || y === null) return (x === null) - (y === null);
      return sign * (typeof x === "string" ? collator.compare(x, y) : x - y);
    });
  }

  function show() {
    const [matches, sorted] = [matcher(), sorter()];
    let count = 0;
    const seen = heads.map(() => false);
    for (const { body, above, rows: mine } of bodies) {
      const shown = sorted(mine.filter(matches));
      count += shown.length;
      for (const row of shown) {
        for (const place of row.filled) seen[place] = true;
      }
      body.replaceChildren(...(shown.length ? above : []), ...shown.map((row) => row.element));
    }
    for (const place of values.optional) table.classList.toggle(`no${place}`, !seen[place]);
    if (long) fit();
    for (const head of everyHead) {
      const active = head.dataset.sort === form.elements.sort.value;
      const up = ascending.has(head.dataset.sort) !== reversed;
      if (active) head.setAttribute("aria-sort", up ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    }
    document.getElementById("count").textContent =
      `${count === rows.length ? "" : `${count} of `}${rows.length} ${rows.length === 1 ? "row" : "rows"}`;
    document.getElementById("empty").hidden = count > 0;
  }

  // A long table becomes a grid, in which rows out of sight cost nothing. Its columns get the widths
  // that the browser's table gives them with every row in it.
  function measure() {
    if (!long) return;
    table.classList.remove("long", ...values.optional.map((place) => `no${place}`));
    for (const { body, above, rows: mine } of bodies) {
      body.replaceChildren(...above, ...mine.map((row) => row.element));
    }
    for (const head of everyHead) head.setAttribute("aria-sort", "other"); // with room for its arrow
    widths = heads.map((head) => Math.ceil(head.getBoundingClientRect().width));
    table.classList.add("long");
  }

  function fit() {
    const seen = widths.filter((_, place) => !table.classList.contains(`no${place}`));
    const columns = seen.map((width) => `minmax(${width}px, ${width}fr)`);
    table.style.setProperty("--columns", columns.join(" "));
    table.style.setProperty("--least", `${seen.reduce((sum, width) => sum + width, 0)}px`);
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

  for (const head of everyHead) {
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
    const row = event.target.closest("tbody tr:not(.group, .heads)");
    const plain = !event.ctrlKey && !event.metaKey && !event.shiftKey;
    if (!row || !plain || event.target.closest("a, button, input")) return;
    if (!String(getSelection())) row.querySelector("a").click();
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
  for (const width of ["(max-width: 46rem)", "(min-width: 90rem)"]) {
    matchMedia(width).addEventListener("change", () => {
      measure();
      show();
    });
  }
  form.hidden = false;
  read();
  measure();
  show();
})();
