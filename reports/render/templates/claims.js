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

/* On paper the table of claims stays whole, and what is known of each follows it. */
const aboutClaims = [...document.querySelectorAll(".about details.claim")].map(about => [about, about.parentElement]);
addEventListener("beforeprint", () => document.getElementById("claims-on-paper").append(...aboutClaims.map(([about]) => about)));
addEventListener("afterprint", () => aboutClaims.forEach(([about, cell]) => cell.append(about)));
