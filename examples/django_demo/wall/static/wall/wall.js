// The photos on the page, newest first, each of them once. Knows nothing of realtime.

const ago = new Intl.RelativeTimeFormat("en", { numeric: "auto" })

function since(seconds) {
  if (seconds < 45) return "just now"
  if (seconds < 45 * 60) return ago.format(-Math.ceil(seconds / 60), "minute")
  if (seconds < 22 * 3600) return ago.format(-Math.round(seconds / 3600), "hour")
  return ago.format(-Math.round(seconds / 86400), "day")
}

export class Wall {
  constructor(element) {
    this.element = element
    this.template = document.getElementById("photo-template").content.firstElementChild
    this.news = document.getElementById("news")
    this.count = document.getElementById("count")
    this.atOnce = document.getElementById("at-once")
    this.shown = new Map() // id -> element
    this.waiting = new Map() // id -> photo, while the visitor prefers to be asked
    for (const photo of element.querySelectorAll(".photo")) this.shown.set(Number(photo.dataset.id), photo)

    this.atOnce.checked = localStorage.getItem("at-once") !== "no"
    this.atOnce.addEventListener("change", () => {
      localStorage.setItem("at-once", this.atOnce.checked ? "yes" : "no")
      if (this.atOnce.checked) this.showWaiting()
    })
    this.news.addEventListener("click", () => {
      this.showWaiting()
      scrollTo({ top: 0, behavior: "smooth" })
    })
    openOnClick(element)
    setInterval(() => this.tellTimes(), 30_000)
    this.tellTimes()
  }

  add(photo, { atOnce = this.atOnce.checked } = {}) {
    if (this.shown.has(photo.id)) return
    if (atOnce) this.show(photo)
    else this.waiting.set(photo.id, photo)
    this.tellNews()
  }

  // The list as the server has it now: add what we do not have, drop what is older than all of it.
  replace(photos) {
    const oldest = Math.min(...photos.map(photo => photo.id))
    for (const [id, element] of this.shown) {
      if (id >= oldest) continue
      element.remove()
      this.shown.delete(id)
    }
    for (const photo of photos) this.add(photo)
  }

  show(photo) {
    this.waiting.delete(photo.id)
    const element = this.draw(photo)
    const older = [...this.shown].filter(([id]) => id < photo.id).sort(([a], [b]) => b - a)[0]
    this.element.insertBefore(element, older ? older[1] : null)
    this.shown.set(photo.id, element)
    this.count.textContent = this.shown.size
  }

  draw(photo) {
    const element = this.template.cloneNode(true)
    element.href = photo.image
    element.dataset.id = photo.id
    element.style.setProperty("--w", photo.width)
    element.style.setProperty("--h", photo.height)
    element.style.setProperty("--tint", photo.colour)
    element.querySelector("img").src = photo.thumb
    element.querySelector("img").alt = photo.caption
    element.querySelector("b").textContent = photo.caption
    element.querySelector(".author").textContent = photo.author
    element.querySelector("time").dateTime = new Date(photo.created * 1000).toISOString()
    element.classList.add("fresh")
    this.tellTime(element)
    return element
  }

  showWaiting() {
    for (const photo of this.waiting.values()) this.show(photo)
    this.tellNews()
  }

  tellNews() {
    const many = this.waiting.size
    this.news.hidden = many === 0
    this.news.textContent = many === 1 ? "1 new photo, show" : `${many} new photos, show`
    document.title = many ? `(${many}) Photo wall` : "Photo wall"
  }

  tellTimes() {
    for (const element of this.shown.values()) this.tellTime(element)
  }

  tellTime(element) {
    const time = element.querySelector("time")
    time.textContent = since((Date.now() - Date.parse(time.dateTime)) / 1000)
  }
}

// A photo opens in a dialog; arrows go to its neighbours. Without this script the links work as they are.
function openOnClick(wall) {
  const viewer = document.getElementById("viewer")
  let current
  const open = photo => {
    if (!photo) return
    current = photo
    viewer.querySelector("img").src = photo.href
    viewer.querySelector("img").alt = photo.querySelector("img").alt
    viewer.querySelector("b").textContent = photo.querySelector("b").textContent
    viewer.querySelector("span").textContent = photo.querySelector("figcaption > span").textContent
    if (!viewer.open) viewer.showModal()
  }
  wall.addEventListener("click", event => {
    const photo = event.target.closest(".photo")
    if (!photo || event.ctrlKey || event.metaKey || event.shiftKey) return
    event.preventDefault()
    open(photo)
  })
  viewer.addEventListener("keydown", event => {
    if (event.key === "ArrowRight") open(current.nextElementSibling)
    if (event.key === "ArrowLeft") open(current.previousElementSibling)
  })
  viewer.addEventListener("click", event => {
    if (event.target.tagName === "FIGURE" || event.target === viewer) viewer.close()
  })
}
