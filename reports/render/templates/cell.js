/* One cell, with everything that is known of it. */
const cells = read("cells-data"), dialog = document.getElementById("cell");
const places = new Map(cells.rows.map((row, k) => [row[0], k]));
const cellLink = id => element("a", id, { href: `#cell-${id}` });
async function unpack(text) {
  const bytes = Uint8Array.from(atob(text.replace("packed:", "")), character => character.charCodeAt(0));
  return JSON.parse(await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text());
}
let details = null;
async function detailsOf(k) { details ??= unpack(cells.details); return (await details)[k]; }
async function openCell(id) {
  const k = places.get(id);
  if (k === undefined) return;
  const { command, setting, maker, metrics, parents } = await detailsOf(k), row = cells.rows[k];
  const title = dialog.querySelector("h2"), facts = dialog.querySelector("dl");
  title.textContent = `Cell ${id}`;
  const pairs = cells.columns.map(([name], column) => [name, [row[column]]]).slice(1, 6).filter(pair => pair[1][0] !== "");
  if (parents.length) pairs.push(["made of", parents.map(cellLink)]);
  pairs.push(["setting", [setting]], ["made with", [maker]]);
  if (row[9]) pairs.push(["caution", [row[9]]]);
  facts.replaceChildren(...pairs.flatMap(([name, parts]) => {
    const fact = element("dd");
    parts.forEach((part, place) => fact.append(...(place ? [", ", part] : [part])));
    return [element("dt", name), fact];
  }));
  dialog.querySelector("pre").textContent = command;
  dialog.querySelector(".metrics").replaceChildren(...Object.entries(metrics).map(([name, value]) => {
    const item = element("li", name);
    item.append(element("span", value === null ? "–" : String(value).replace("-", "−")));
    return item;
  }));
  if (!dialog.open) dialog.showModal();
  title.focus();
  dialog.scrollTop = 0;
}
dialog.querySelector(".close").addEventListener("click", () => dialog.close());
dialog.querySelector(".copy").addEventListener("click", () => {
  const range = document.createRange();
  range.selectNodeContents(dialog.querySelector("pre"));
  getSelection().removeAllRanges();
  getSelection().addRange(range);
  if (navigator.clipboard) navigator.clipboard.writeText(range.toString()).catch(() => {});
});
dialog.addEventListener("close", () => { if (location.hash.startsWith("#cell-")) history.replaceState(null, "", location.pathname + location.search); });
