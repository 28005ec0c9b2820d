// Fetches the page again and puts its <main> in place of this one. A page that cannot be fetched says that it is old.
const period = () => 1000 * Math.max(1, Number(document.querySelector("main").dataset.pollSeconds));
async function refresh() {
  let fresh = null;
  try {
    const answer = await fetch(location.pathname, { cache: "no-store", signal: AbortSignal.timeout(5000) });
    if (answer.ok) fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  } catch { /* told below */ }
  document.getElementById("stale").hidden = fresh !== null;
  if (fresh !== null) {
    document.title = fresh.title;
    document.querySelector("link[rel=icon]").href = fresh.querySelector("link[rel=icon]").href;
    document.querySelector("main").replaceWith(fresh.querySelector("main"));
  }
  setTimeout(refresh, period());
}
setTimeout(refresh, period());
