/* A claim's title opens what is known of it below its row; without a script each row is followed by a fold. */
for (const link of document.querySelectorAll(".answers tbody th > a")) {
  const about = document.getElementById(link.hash.slice(1)), show = () => link.setAttribute("aria-expanded", String(about.open));
  link.setAttribute("aria-controls", about.id);
  about.addEventListener("toggle", show);
  link.addEventListener("click", event => {
    event.preventDefault();
    about.open = !about.open;
    history.replaceState(null, "", about.open ? link.hash : location.pathname + location.search);
  });
  show();
}
