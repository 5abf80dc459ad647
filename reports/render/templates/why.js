/* Where a number comes from: what `report why` prints of it. A row of a table is asked by its first cell, or by a click
   on one of its numbers; "claims:3" is the fourth claim. */
const why = document.getElementById("why"), whyCells = why.querySelector("ol"), LISTED = 25, SUMMED = 12;
const minus = text => /^-\d/.test(text) ? text.replace("-", "−") : text;
let book = null;
const provenance = () => { book ??= unpack(read("why-data")); return book; };
const named = (name, text) => [element("dt", name), element("dd", text)];

/* The cells of a row, as places in the list of all cells. */
function cellsOf(all, table, k) {
  let place = 0;
  return all.sets[table.cells[k]].map(step => (place += step));
}

async function valuesOf(places, metric) {
  return Promise.all(places.map(async k => (await detailsOf(k)).metrics[metric] ?? null));
}

/* Columns with one formula stand together. */
function formulasOf(all, headings, texts, columns) {
  const groups = new Map();
  columns.forEach((column, c) => {
    if (column && texts[c] !== undefined) groups.set(column[0], [...groups.get(column[0]) ?? [], `${headings[c]} ${minus(texts[c] || "–")}`]);
  });
  return [...groups].flatMap(([formula, numbers]) => named(numbers.join(", "), all.formulas[formula]));
}

async function meanOf(places, heading, metric) {
  const values = (await valuesOf(places, metric)).filter(value => value !== null);
  if (!values.length) return [];
  const mean = (values.reduce((a, b) => a + b) / values.length).toFixed(4);
  const sum = values.length > SUMMED ? `mean of ${values.length} values` : `(${values.join(" + ")}) / ${values.length}`;
  return named(`${heading} computed`, `${sum} = ${minus(mean)}`);
}

async function cellItem(k, metric) {
  const row = cells.rows[k], item = element("li"), { command } = await detailsOf(k);
  const [value] = metric === null ? [null] : await valuesOf([k], metric);
  const words = ` ${row[1]}, ${row[2]}, seed ${row[4]}` + (value === null ? "" : `, ${metric} ${value}`);
  item.append(cellLink(row[0]), words, element("code", command));
  return item;
}

function listCells(places, metric) {
  const more = why.querySelector(".more"), copy = why.querySelector(".copy"), told = why.querySelector(".told");
  let shown = 0;
  const next = async () => {
    const part = places.slice(shown, shown + LISTED);
    shown += part.length;
    more.hidden = shown >= places.length;
    more.textContent = `${Math.min(LISTED, places.length - shown)} more`;
    whyCells.append(...await Promise.all(part.map(k => cellItem(k, metric))));
  };
  whyCells.replaceChildren();
  told.textContent = places.length ? `Rests on ${places.length.toLocaleString("en")} cell${places.length > 1 ? "s" : ""}. Each is made again by its command:` : "It rests on no cell.";
  copy.hidden = !places.length;
  more.onclick = next;
  copy.onclick = async () => navigator.clipboard.writeText((await Promise.all(places.map(detailsOf))).map(detail => detail.command).join("\n"));
  return next();
}

/* Open row k of a table; column: of the number that was asked, if it was one. */
async function openWhy(name, k, column) {
  const all = await provenance(), table = all.tables[name];
  if (table === undefined || table.keys[k] === undefined) return;
  const shown = tables.get(name), headings = table.headings ?? shown.columns, texts = table.values ? table.values[k] : shown.rows[k];
  const places = cellsOf(all, table, k), asked = table.columns[column] ? column : table.columns.findIndex(found => found && found[1] !== null);
  const metric = table.columns[asked]?.[1] ?? null, title = why.querySelector("h2");
  title.textContent = `${table.title}: ${table.keys[k]}`;
  const facts = (table.facts ? table.facts[k] : []).flatMap(([what, words]) => named(what, words));
  const computed = metric === null ? [] : await meanOf(places, headings[asked], metric);
  const first = table.columns[column] && texts[column] ? named(headings[column], minus(texts[column])) : [];
  why.querySelector("dl").replaceChildren(...first, ...computed, ...facts, ...formulasOf(all, headings, texts, table.columns));
  await listCells(places, metric);
  history.replaceState(null, "", `#why-${encodeURIComponent(`${name}.${table.keys[k]}`)}`);
  if (!why.open) why.showModal();
  title.focus();
  why.scrollTop = 0;
}

/* Open the row of an address, which may name a scope. */
async function followWhy(address) {
  const dot = address.indexOf("."), name = address.slice(0, dot), row = address.slice(dot + 1);
  const keys = (await provenance()).tables[name]?.keys ?? [], k = keys.indexOf(row);
  openWhy(name, k < 0 ? keys.findIndex(key => row.endsWith(`/${key}`)) : k);
}

/* A button that takes the place of a text and opens a row. */
function asking(box, act, words) {
  const button = element("button", undefined, { type: "button", class: "link" });
  if (words) button.setAttribute("aria-label", words);
  button.append(...box.childNodes);
  button.addEventListener("click", event => { event.stopPropagation(); act(); });
  box.append(button);
}
for (const box of document.querySelectorAll("[data-why]")) {
  const [name, k] = box.dataset.why.split(":"), words = box.textContent.trim();
  if (words) asking(box, () => openWhy(name, Number(k)));
}
why.querySelector(".close").addEventListener("click", () => why.close());
why.addEventListener("close", () => { if (location.hash.startsWith("#why-")) history.replaceState(null, "", location.pathname + location.search); });
