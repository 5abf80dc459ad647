/* The gallery: one filter a fact, and a first row of images until all are asked for. */
const gallery = document.querySelector(".gallery"), galleryTools = document.getElementById("gallery-tools");
const FIRST = matchMedia("(max-width: 46rem)").matches ? 3 : 8;
if (gallery) {
  const pictures = [...gallery.children], filters = [...galleryTools.querySelectorAll("select")];
  const told = galleryTools.querySelector("output"), more = galleryTools.querySelector(".more");
  let all = pictures.length <= FIRST;
  const showPictures = () => {
    const found = pictures.filter(p => filters.every(f => !f.value || p.dataset[f.dataset.filter] === f.value));
    const shown = new Set(all ? found : found.slice(0, FIRST));
    pictures.forEach(p => { p.hidden = !shown.has(p); });
    told.textContent = `${shown.size} of ${found.length} images`;
    more.hidden = shown.size === found.length;
  };
  filters.forEach(f => f.addEventListener("change", showPictures));
  more.addEventListener("click", () => { all = true; showPictures(); });
  showPictures();
}
