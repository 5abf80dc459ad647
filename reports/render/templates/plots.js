/* The plots. Every mark answers mouse and keyboard: one stop of Tab a plot, arrow keys from mark to mark. */
let plots = null;
/* Colours were chosen for a light ground; on a dark one each is as light as it must be. */
const dark = matchMedia("(prefers-color-scheme: dark)");
function toned(colour) {
  const { l, a, b } = d3.lab(colour);
  return dark.matches ? d3.lab(Math.max(l, 68), a, b).formatHex() : colour;
}
function styleOf(method) {
  const { colour, symbol } = plots.methods[method] || { colour: "#595959", symbol: "circle" };
  return { colour: toned(colour), symbol };
}
const signed = value => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(1);
const power = value => {
  const [digit, exponent] = value.toExponential(0).split("e");
  return digit === "1" || digit === "3" ? `${digit}e${exponent.replace("-", "−").replace("+", "")}` : "";
};
const methodsIn = rows => [...new Set(rows.map(row => row.method))];
const legendOf = methods => ({
  color: { domain: methods, range: methods.map(m => styleOf(m).colour) },
  symbol: { domain: methods, range: methods.map(m => styleOf(m).symbol) },
});
/* The legend of a figure as a line of its own, so that figures side by side begin at one height. */
function keyOf(figure, scale) {
  const line = element("div", undefined, { class: "key" });
  line.append(figure.legend(scale));
  return [line];
}

function walkable(svg, name, selector) {
  svg.setAttribute("role", "group");
  svg.setAttribute("aria-label", `${name}; arrow keys go from mark to mark`);
  const marks = [...svg.querySelectorAll(selector)];
  svg.querySelectorAll("g[aria-label]").forEach(group => group.removeAttribute("aria-label"));
  const only = mark => marks.forEach(other => other.setAttribute("tabindex", other === mark ? "0" : "-1"));
  marks.forEach((mark, place) => {
    const inner = mark.matches("[aria-label]") ? mark : mark.querySelector("[aria-label]");
    const words = inner.getAttribute("aria-label");
    mark.setAttribute("aria-label", words);
    if (inner !== mark) inner.removeAttribute("aria-label");
    if (mark.localName !== "a") mark.setAttribute("role", "img");
    mark.classList.add("markable");
    mark.addEventListener("focus", () => { only(mark); said(svg, words); });
    mark.addEventListener("mouseenter", () => said(svg, words));
    mark.addEventListener("keydown", event => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      marks[(place + step + marks.length) % marks.length].focus();
    });
  });
  if (marks.length) only(marks[0]);
}
const said = (svg, words) => { svg.closest(".drawn").querySelector(".said").textContent = words; };
const mainOf = figure => figure.matches("svg.plot-main") ? figure : figure.querySelector("svg.plot-main") || figure;
const OTHERS = "#8a939d", GAP = 24;

/* Draw figures into a box, once more when the box changes its width; `make(width)` gives [figure, name, marks], or [legend].
   A fourth entry that is true folds the figure away: those of further scopes, on a narrow screen. */
const drawings = [], redraw = () => drawings.forEach(draw => draw());
const isNarrow = matchMedia("(max-width: 46rem)").matches;
const POINT = isNarrow ? "Touch a mark for its numbers." : "Point at a mark, or go to one with Tab and the arrow keys.";
if (isNarrow) document.querySelectorAll("details.plot").forEach(fold => { fold.open = false; });
function drawing(id, make) {
  const box = document.getElementById(id);
  if (!box) return;
  const told = element("p", POINT, { class: "said no-print", "aria-live": "polite" });
  const draw = () => {
    const made = make(Math.max(260, Math.min(box.clientWidth, 1000)));
    const isOpen = Boolean(box.querySelector("details")?.open), rest = made.filter(([, , , isFolded]) => isFolded).map(([figure]) => figure);
    const fold = element("details", undefined, { class: "inline" });
    fold.append(element("summary", "The same in the other scopes"), ...rest);
    fold.open = isOpen;
    box.replaceChildren(...made.filter(([, , , isFolded]) => !isFolded).map(([figure]) => figure), ...rest.length ? [fold] : [], told);
    for (const [figure, name, selector] of made) if (name) walkable(mainOf(figure), name, selector);
  };
  let width = 0;
  new ResizeObserver(() => { if (Math.abs(box.clientWidth - width) > 20) { width = box.clientWidth; draw(); } }).observe(box);
  drawings.push(draw);
}

/* The task that all plots are of; "" means all. */
let chosen = "";
const isChosen = row => !chosen || row.task === chosen;
const pickers = [...document.querySelectorAll("select.pick")];
pickers.forEach(picker => picker.addEventListener("change", () => {
  chosen = picker.value;
  pickers.forEach(other => { other.value = chosen; });
  redraw();
}));

/* The methods that all plots are of: at first what the paper compares, with its interpolations. */
const MAIN = ["zero-shot", "FT", "CAR-FT", "WiSE-FT of FT", "WiSE-FT of CAR-FT"];
let drawn = new Set();
const isDrawn = row => drawn.has(row.method);
function offerMethods() {
  const every = methodsIn([...plots.contexts, ...plots.points, ...plots.trials]), main = every.filter(method => MAIN.includes(method));
  const boxes = [...document.querySelectorAll(".methods")];
  drawn = new Set(main.length ? main : every);
  const tell = () => {
    boxes.forEach(box => { box.querySelector("summary").textContent = `Methods (${drawn.size} of ${every.length})`; });
    document.querySelectorAll(".methods input").forEach(input => { input.checked = drawn.has(input.value); });
  };
  for (const box of boxes) for (const method of every) {
    const label = element("label"), check = element("input", undefined, { type: "checkbox", value: method });
    check.addEventListener("change", () => { drawn[check.checked ? "add" : "delete"](method); tell(); redraw(); });
    label.append(check, ` ${method}`);
    box.querySelector("fieldset").append(label);
  }
  boxes.forEach(box => { box.hidden = drawn.size === every.length; });
  tell();
}

/* Names in lines of so many characters, broken after / - _ or a space where they can be, and elsewhere where not.
   Where one is longer than a line, what stands before the slash is left out if it is the same for all. */
function linesOf(names, most, isWhole = false) {
  const long = !isWhole && names.some(name => name.length > most), slashed = names.filter(name => name.includes("/"));
  const families = new Set(slashed.map(name => name.split("/")[0]));
  const short = name => long && families.size === 1 && name.includes("/") ? name.slice(name.indexOf("/") + 1) : name;
  const pieces = name => short(name).split(/(?<=[\/\- _])/).flatMap(piece => piece.match(new RegExp(`.{1,${most}}`, "gu")));
  return new Map(names.map(name => [name, pieces(name).reduce((lines, piece) => {
    const last = lines.at(-1);
    return last !== undefined && last.length + piece.length <= most ? [...lines.slice(0, -1), last + piece] : [...lines, piece];
  }, [])]));
}

/* One panel of differences. names: the width of the names of tasks; isNamed: whether they stand before it, or before the panel beside it. */
function differencesOf(where, tasks, domain, width, names, isNamed, isFolded) {
  const rows = plots.differences.filter(row => row.where === where && tasks.includes(row.task));
  const bounded = rows.filter(row => row.low !== null), lines = linesOf(tasks, Math.floor((names - 12) / 6.4));
  const row = Math.max(22, 12 * Math.max(...[...lines.values()].map(found => found.length)) + 6);
  const tone = row => row.mean ? "var(--ink)" : isChosen(row) ? styleOf("CAR-FT").colour : OTHERS;
  const figure = Plot.plot({
    className: "plot-main", width: width + (isNamed ? names : 0), height: row * tasks.length + 72, marginLeft: isNamed ? names : 10, marginTop: 24, marginBottom: 40,
    x: { domain, label: `CAR-FT minus FT, ${where} (points)`, grid: true, ticks: 5 },
    y: { domain: tasks, label: null, axis: isNamed ? "left" : null, tickSize: 0, tickFormat: task => lines.get(task).join("\n") },
    marks: [
      Plot.ruleY(tasks, { stroke: "var(--line)" }),
      Plot.ruleX([0], { stroke: "var(--soft)" }),
      Plot.ruleY(bounded, { y: "task", x1: "low", x2: "high", stroke: tone, strokeWidth: 2 }),
      Plot.dot(rows, { y: "task", x: "effect", r: 5, fill: tone, symbol: row => row.mean ? "diamond2" : "circle",
        ariaLabel: row => `${row.task}, ${where}: ${signed(row.effect)} points` + (row.low === null ? ", no interval" : ` (${signed(row.low)} to ${signed(row.high)})`), className: "marks" }),
    ],
  });
  return [figure, `CAR-FT minus FT on the ${where}, one mark a task`, ".marks path, .marks circle", isFolded];
}

/* Panels side by side have the same tasks on the same lines, also where one has no number; below each other each has its own. */
function drawDifferences(width) {
  const rows = [...plots.differences].sort((a, b) => Boolean(a.mean) - Boolean(b.mean)), wheres = [...new Set(plots.differences.map(row => row.where))];
  const bounds = rows.flatMap(row => [row.effect, 0, row.low ?? 0, row.high ?? 0]);
  const domain = [Math.min(...bounds) - 1, Math.max(...bounds) + 1];
  const beside = width > 640, longest = Math.max(...rows.map(row => row.task.length));
  const names = Math.min(width * .38, 270, Math.max(150, 12 + 6.4 * longest)), side = beside ? (width - names - GAP * (wheres.length - 1)) / wheres.length : width - names;
  const tasksOf = rows => [...new Set(rows.map(row => row.task))];
  if (beside) return wheres.map((where, k) => differencesOf(where, tasksOf(rows), domain, side, names, k === 0));
  const isFirst = row => row.scope === plots.differences[0].scope;
  return [false, true].flatMap(isFolded => wheres.map(where => [where, tasksOf(rows.filter(row => row.where === where && isFirst(row) !== isFolded))])
    .filter(([, tasks]) => tasks.length).map(([where, tasks]) => differencesOf(where, tasks, domain, side, names, true, isFolded)));
}

function drawIdOod(width) {
  const shown = plots.points.filter(isDrawn), points = shown.filter(isChosen), others = shown.filter(row => !isChosen(row));
  if (!shown.length) return [];
  const all = plots.curves.filter(row => drawn.has(`WiSE-FT of ${row.parent}`)), curves = chosen ? all.filter(isChosen) : [];
  const every = [...shown, ...all], room = (values, pad) => [Math.min(...values) - pad, Math.max(...values) + pad];
  const x = room(every.flatMap(row => [row.id]), 4), y = room(every.map(row => row.ood), 4);
  const low = Math.max(x[0], y[0]), high = Math.min(x[1], y[1]), methods = methodsIn(shown);
  const side = Math.min(width, 460);
  const figure = Plot.plot({
    className: "plot-main", width: side, aspectRatio: 1, marginLeft: 44, marginBottom: 40, ...legendOf(methods),
    x: { domain: x, label: "top-1 on the ID test set (%)", grid: true }, y: { domain: y, label: "mean top-1 over the shifts (%)", grid: true },
    marks: [
      low < high ? Plot.line([[low, low], [high, high]], { stroke: "var(--edge)", strokeDasharray: "3 4" }) : null,
      Plot.dot(others, { x: "id", y: "ood", stroke: OTHERS, r: 3 }),
      Plot.line(curves, { x: "id", y: "ood", z: "parent", stroke: row => styleOf(`WiSE-FT of ${row.parent}`).colour, markerMid: "arrow", strokeWidth: 1.6, sort: "alpha" }),
      Plot.text(curves.filter(row => row.alpha === .5), { x: "id", y: "ood", text: () => "0.5", dy: -9, fill: "var(--ink)" }),
      chosen ? Plot.ruleY(points.filter(row => row.low !== null), { y: "ood", x1: row => Math.max(x[0], row.low), x2: row => Math.min(x[1], row.high), stroke: "var(--edge)" }) : null,
      Plot.dot(points, { x: "id", y: "ood", fill: "method", symbol: "method", r: 5, stroke: "var(--paper)", strokeWidth: .8,
        ariaLabel: row => `${row.task}, ${row.method}: ID ${row.id.toFixed(1)} %` + (row.low === null ? "" : ` (${row.low.toFixed(1)} to ${row.high.toFixed(1)})`) + `, OOD ${row.ood.toFixed(1)} %`, className: "marks" }),
    ],
  });
  return [keyOf(figure, "symbol"), [figure, "Accuracy in distribution against accuracy out of it", ".marks path, .marks circle"]];
}

/* One panel of contexts. names: the width of the names before it; 0 where the panel beside it has them, or they stand above their lines. below: the lines of its title. */
function contextsOf(scope, every, contexts, width, names, above, below, isFolded) {
  const rows = every.filter(row => row.scope === scope), seen = [...new Set(rows.filter(row => row.seen).map(row => row.context))];
  const figure = Plot.plot({
    className: "plot-main", width: width + names, height: (above ? 38 : 20) * contexts.length + 52 + 14 * below.length, marginLeft: names || 12, marginRight: 12, marginTop: 14, marginBottom: 26 + 14 * below.length, ...legendOf(methodsIn(every)),
    x: { domain: [0, 100], label: null, grid: true },
    y: { domain: contexts, label: null, axis: names ? "left" : null, tickSize: 0 },
    marks: [
      Plot.ruleY(seen, { stroke: "var(--line)", strokeWidth: 15, strokeOpacity: .6 }),
      Plot.ruleY(contexts, { stroke: "var(--line)" }),
      Plot.ruleX([rows[0].chance], { stroke: "var(--ink)", strokeDasharray: "2 3", ariaLabel: `chance, ${rows[0].chance.toFixed(1)} %` }),
      Plot.text([below.join("\n")], { frameAnchor: "bottom-right", lineAnchor: "top", dy: 26, lineHeight: 1.25, fill: "var(--ink)" }),
      above ? Plot.text(contexts, { y: context => context, text: context => context, frameAnchor: "left", dy: -13, fill: "var(--ink)" }) : null,
      Plot.dot(rows, { x: "share", y: "context", fill: "method", symbol: "method", r: 5, stroke: "var(--paper)", strokeWidth: .8,
        ariaLabel: row => `${row.context}${row.seen ? " (trained on)" : ""}, ${row.method}: ${row.share.toFixed(1)} % of ${row.images.toLocaleString("en")} images`, className: "marks" }),
    ],
  });
  return [figure, `Context recognition, ${scope}`, ".marks path, .marks circle", isFolded];
}

/* The titles of panels, in lines of the same number, so that panels side by side have one height. */
function titlesOf(scopes, width) {
  const lines = [...linesOf(scopes.map(scope => `${scope} (%\u00a0recognised)\u00a0→`), Math.floor(width / 6.4), true).values()];
  const most = Math.max(...lines.map(found => found.length));
  return lines.map(found => [...found, ...Array(most - found.length).fill("")]);
}

/* Scopes of the same contexts stand side by side with one axis of names, up to four where there is room. */
function drawContexts(width) {
  const rows = plots.contexts.filter(isDrawn), above = width < 640, scopes = [...new Set(rows.map(row => row.scope))];
  const contextsIn = scope => [...new Set(rows.filter(row => row.scope === scope).map(row => row.context))];
  const alike = d3.groups(scopes, scope => contextsIn(scope).sort().join("\n")).map(([, found]) => found);
  const panels = alike.flatMap(found => found.map((scope, k) => {
    const contexts = contextsIn(found[0]), beside = above ? 1 : Math.min(found.length, width < 900 ? 2 : 4);
    const room = above ? 0 : Math.max(170, 14 + 6.2 * Math.max(...contexts.map(context => context.length)));
    const side = (width - room - GAP * (beside - 1)) / beside, titles = titlesOf(found, side);
    return contextsOf(scope, rows, contexts, side, k % beside ? 0 : room, above, titles[k], above && scope !== scopes[0]);
  }));
  return panels.length ? [keyOf(panels[0][0], "symbol"), ...panels] : [];
}

/* Of very many trials a share is drawn: more marks would hide each other and take long.
   A method with a KL term has a plane of learning rate and weight; any other a line of learning rates (a probe: penalties) and scores. */
const MARKS = 1000;
function searchOf(method, every, reach, width) {
  const step = Math.ceil(every.length / MARKS), rows = every.filter((row, k) => row.won || k % step === 0);
  const share = step > 1 ? ` (1 in ${step} of ${every.length.toLocaleString("en")} trials, and the winners)` : "";
  const plane = rows.some(row => row.kl !== null), y = plane ? "kl" : "relative";
  const words = row => `${row.task}, ${row.method}: ${row.along} ${row.x.toPrecision(2)}` + (row.kl === null ? "" : `, KL weight ${row.kl.toPrecision(2)}`) +
    `, validation ${row.score.toFixed(1)} % (${signed(row.relative)} from the task's mean)` + (row.won ? ", winner" : "");
  const shared = { x: "x", y, href: row => `#cell-${row.cell}` };
  const figure = Plot.plot({
    className: "plot-main", width, height: 270, marginLeft: 48, marginBottom: 40, inset: 10,
    x: { type: "log", label: `${rows[0].along}, ${method}${share}`, ticks: 5, tickFormat: power }, y: plane ? { type: "log", label: "KL weight", ticks: 5, tickFormat: power } : { label: "points from the task's mean", grid: true },
    color: { type: "diverging", ...scaleOfScores(), domain: [-reach, reach], clamp: true, label: "validation top-1 minus the task's mean (points)" },
    marks: [
      Plot.dot(rows, { ...shared, fill: "relative", stroke: row => row.won ? "var(--ink)" : "var(--soft)", strokeWidth: row => row.won ? 3 : 1, r: row => row.won ? 7 : 5, ariaLabel: words, className: "marks" }),
    ],
  });
  return [figure, `Search trials of ${method}`, ".marks a"];
}

const scaleOfScores = () => dark.matches ? { interpolate: d3.piecewise(d3.interpolateLab, ["#f0935a", "#333b44", "#74b8ea"]) } : { scheme: "RdBu" };

function drawSearch(width) {
  const trials = plots.trials.filter(row => isChosen(row) && isDrawn(row));
  const reach = Math.max(1, d3.quantile(plots.trials, .9, row => Math.abs(row.relative))), side = width > 640 ? (width - GAP) / 2 : width;
  const panels = methodsIn(trials).map(method => searchOf(method, trials.filter(row => row.method === method), reach, side));
  return panels.length ? [keyOf(panels[0][0], "color"), ...panels] : [];
}

dark.addEventListener("change", redraw);
/* The figures of the folds are packed; all are opened at once, so that a page can be printed as soon as it is read. */
for (const image of document.querySelectorAll("img[data-svg]")) {
  unpack(image.dataset.svg).then(svg => { image.src = "data:image/svg+xml," + encodeURIComponent(svg); });
}

const packedPlots = read("plots-data");
if (packedPlots) unpack(packedPlots).then(found => {
  plots = found;
  offerMethods();
  drawing("plot-contexts", drawContexts);
  drawing("plot-differences", drawDifferences);
  drawing("plot-id-ood", drawIdOod);
  drawing("plot-search", drawSearch);
});
