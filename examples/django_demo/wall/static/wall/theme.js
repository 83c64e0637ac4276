// Runs before the page is painted, so that it never flashes in the wrong colours.
const kept = localStorage.getItem("theme")
if (kept) document.documentElement.dataset.theme = kept

addEventListener("DOMContentLoaded", () => {
  document.getElementById("theme").addEventListener("click", () => {
    const now = document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")
    document.documentElement.dataset.theme = now === "dark" ? "light" : "dark"
    localStorage.setItem("theme", document.documentElement.dataset.theme)
  })
})
