const number = text => { const t = text.trim().replace("−", "-"); return t !== "" && t !== "–" && !isNaN(t) ? Number(t) : null; };
const compare = (a, b) => {
  const x = number(a), y = number(b);
  if (x !== null && y !== null) return x - y;
  return (x === null) - (y === null) || a.localeCompare(b, "en", { numeric: true });
};
const element = (name, text, attributes = {}) => {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
};
const read = id => { const block = document.getElementById(id); return block && JSON.parse(block.textContent); };

/* The rows that a query finds. All its words must match: whole cells where a cell is that word ("FT" is not "CAR-FT"),
   else beginnings of words, else any part of the row. */
const WORD = /[\s/,;:()=]+/;
function finder(rows) {
  const cells = rows.map(row => row.map(text => text.trim().toLowerCase()));
  const texts = cells.map(row => row.join(" ")), words = cells.map(row => row.flatMap(text => [text, ...text.split(WORD)]));
  const whole = new Set(cells.flat());
  return query => {
    const wanted = query.trim().toLowerCase(), asked = wanted.split(/\s+/).filter(Boolean), all = rows.map((_, k) => k);
    if (!asked.length) return all;
    const begins = (k, word) => words[k].some(other => other.startsWith(word));
    const ways = [
      k => cells[k].includes(wanted),
      k => asked.every(word => whole.has(word) ? cells[k].includes(word) : begins(k, word)),
      k => asked.every(word => begins(k, word)),
      k => asked.every(word => texts[k].includes(word)),
    ];
    for (const way of ways) { const found = all.filter(way); if (found.length) return found; }
    return [];
  };
}

/* A table: sorting, filter, columns, CSV. `data` holds the rows of a long one, of which one leaf is in the page. */
const LEAF = 10;
class Table {
  constructor(table, tools, data, open) {
    Object.assign(this, { table, tools, data, open, name: table.dataset.table, start: 0, leaf: data ? LEAF : Infinity });
    this.body = table.tBodies[0];
    this.heads = [...table.tHead.rows[0].cells];
    this.columns = this.heads.map(head => head.textContent);
    this.present = data ? [] : [...this.body.rows];
    this.rows = data ? data.rows : this.present.map(row => [...row.cells].map(cell => cell.textContent.trim()));
    this.order = this.rows.map((_, k) => k);
    this.hidden = new Set();
    this.find = finder(this.rows);
    this.input = tools.querySelector("input");
    this.count = tools.querySelector("output");
    this.present.forEach((row, k) => this.offer(row, k));
    this.listen();
    this.filter();
  }
  /* The first cell of a row opens it, and so does a number: by a click, or by Enter once the arrow keys have gone there. */
  offer(row, k) {
    const words = this.rows[k].slice(0, 2).join(", ");
    asking(row.cells[0], () => this.open(k, 0), words);
    const numbers = [...row.cells].slice(1).filter(cell => cell.matches(".r"));
    numbers.forEach(cell => {
      const act = () => this.open(k, [...row.cells].indexOf(cell));
      cell.tabIndex = -1;
      cell.addEventListener("click", () => { if (getSelection().isCollapsed) act(); });
      cell.addEventListener("keydown", event => { if (event.key === "Enter") act(); });
    });
    row.addEventListener("keydown", event => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key], shown = [row.cells[0].querySelector("button"), ...numbers.filter(cell => !cell.hidden)];
      const next = step && shown[shown.indexOf(document.activeElement) + step];
      if (!next) return;
      event.preventDefault();
      next.focus();
    });
  }
  listen() {
    this.heads.forEach((head, column) => {
      const button = element("button", head.textContent, { type: "button" });
      head.replaceChildren(button);
      button.addEventListener("click", () => this.sort(column));
    });
    this.input.addEventListener("input", () => this.filter());
    this.input.addEventListener("change", () => history.replaceState(null, "", `#${this.anchor}:${encodeURIComponent(this.input.value)}`));
    this.button(".back", () => this.turn(-LEAF));
    this.button(".forth", () => this.turn(LEAF));
    this.button(".csv", () => this.download());
    this.offerColumns();
  }
  get anchor() { return this.name === "cells" ? "cells" : `table-${this.name}`; }
  button(name, act) { const found = this.tools.querySelector(name); if (found) found.addEventListener("click", act); }
  offerColumns() {
    const box = this.tools.querySelector(".columns fieldset");
    this.columns.forEach((name, column) => {
      if (!column) return;
      const label = element("label"), check = element("input", undefined, { type: "checkbox", checked: "" });
      check.addEventListener("change", () => { this.hidden[check.checked ? "delete" : "add"](column); this.draw(); });
      label.append(check, ` ${name}`);
      box.append(label);
    });
  }
  sort(column) {
    const head = this.heads[column], down = head.getAttribute("aria-sort") === "ascending";
    this.heads.forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    this.table.classList.add("sorted");
    this.order = [...this.order].sort((a, b) => (down ? -1 : 1) * compare(this.rows[a][column], this.rows[b][column]));
    this.filter();
  }
  filter() {
    const found = new Set(this.find(this.input.value));
    this.shown = this.order.filter(k => found.has(k));
    this.start = 0;
    this.draw();
  }
  turn(rows) { this.start = Math.max(0, this.start + rows); this.draw(); }
  row(k) {
    if (!this.data) return this.present[k];
    const row = element("tr");
    this.rows[k].forEach((text, column) => {
      const kind = this.data.columns[column][1] ? { class: "r" } : {};
      const cell = column ? element("td", undefined, kind) : element("th", undefined, { scope: "row" });
      cell.textContent = text;
      row.append(cell);
    });
    this.offer(row, k);
    return row;
  }
  draw() {
    const rows = this.shown.slice(this.start, this.start + this.leaf).map(k => this.row(k));
    for (const row of [this.table.tHead.rows[0], ...rows]) [...row.cells].forEach((cell, k) => { cell.hidden = this.hidden.has(k); });
    this.body.replaceChildren(...rows);
    this.tell();
  }
  tell() {
    const text = value => value.toLocaleString("en"), found = this.shown.length, total = this.rows.length;
    const last = Math.min(this.start + this.leaf, found);
    if (!this.data) this.count.textContent = `${found} of ${total} rows`;
    else if (!found) this.count.textContent = `none of ${text(total)}`;
    else this.count.textContent = `${text(this.start + 1)} to ${text(last)} of ${text(found)}` + (found < total ? ` found among ${text(total)}` : "");
    if (!this.data) return;
    this.tools.querySelector(".back").disabled = this.start === 0;
    this.tools.querySelector(".forth").disabled = last >= found;
  }
  download() {
    const kept = this.columns.map((_, k) => k).filter(k => !this.hidden.has(k));
    const quoted = text => /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    const lines = [this.columns, ...this.shown.map(k => this.rows[k])].map(row => kept.map(k => quoted(row[k].replace(/−(?=\d)/g, "-"))).join(","));
    const link = element("a", "", { download: `${this.name}.csv`, href: URL.createObjectURL(new Blob([lines.join("\n") + "\n"], { type: "text/csv" })) });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }
}
