// Draws the photos of a group with their comments. Knows nothing of realtime.

const byId = id => document.getElementById(id)

export class Posts {
  onSay = () => {}
  onTyping = () => {}
  shown = new Map() // photo id -> element
  waiting = new Map() // photo id -> photo: those that came since, until somebody asks for them
  held = [] // comments on photos that are not shown
  timers = new Map() // photo id -> when nobody is typing any more

  constructor() {
    byId("news").addEventListener("click", () => {
      for (const photo of this.waiting.values()) this.show(photo)
      this.waiting.clear()
      this.tell()
      scrollTo({ top: 0, behavior: "smooth" })
    })
  }

  replace(photos) {
    this.shown.clear()
    this.waiting.clear()
    byId("posts").replaceChildren()
    for (const photo of [...photos].reverse()) this.show(photo)
    this.tell()
  }

  announce(photo, { mine }) {
    if (this.shown.has(photo.id)) return
    if (mine || !this.shown.size) this.show(photo)
    else this.waiting.set(photo.id, photo)
    this.tell()
  }

  tell() {
    const many = this.waiting.size
    byId("news").hidden = !many
    byId("news").textContent = many === 1 ? "1 new photo" : `${many} new photos`
    byId("nothing").hidden = this.shown.size > 0
  }

  show(photo) {
    const post = byId("post").content.firstElementChild.cloneNode(true)
    post.dataset.photo = photo.id
    post.querySelector("img").src = photo.thumb
    post.querySelector("img").alt = post.querySelector("b").textContent = photo.caption
    post.querySelector(".by").textContent = photo.author
    const form = post.querySelector("form")
    const input = form.querySelector("input")
    input.addEventListener("input", () => this.onTyping(photo.id))
    form.addEventListener("submit", event => {
      event.preventDefault()
      this.onSay(photo.id, input.value)
      form.reset()
    })
    this.shown.set(photo.id, post)
    byId("posts").prepend(post)
    for (const [comment, cause] of this.held.filter(([comment]) => comment.photo_id === photo.id)) this.comment(comment, cause)
  }

  replaceComments(all) {
    this.held = []
    for (const list of document.querySelectorAll(".comments")) list.replaceChildren()
    for (const comment of all) this.comment(comment)
  }

  // A comment, or what takes the place of one that was pending: they have the same cause.
  comment(comment, cause) {
    const post = this.shown.get(comment.photo_id)
    if (!post) return this.held.push([comment, cause])
    const list = post.querySelector(".comments")
    const known = list.querySelector(`[data-id="${comment.id}"]`) ?? (cause && list.querySelector(`[data-cause="${cause}"]`))
    const item = known ?? list.appendChild(document.createElement("li"))
    item.dataset.id = comment.id ?? ""
    item.dataset.cause = cause ?? ""
    item.classList.toggle("pending", !!comment.pending)
    item.replaceChildren(Object.assign(document.createElement("b"), { textContent: comment.author }), " ", comment.text)
    if (!comment.pending) this.typing(comment.photo_id, "")
  }

  takeBack(comment, cause, error) {
    document.querySelector(`[data-cause="${cause}"]`)?.remove()
    if (error) byId("problem").textContent = `“${comment.text}” was not said: ${error.message}`
  }

  typing(photo_id, author) {
    const line = this.shown.get(photo_id)?.querySelector(".typing")
    if (!line) return
    line.textContent = author && `${author} is typing…`
    clearTimeout(this.timers.get(photo_id))
    this.timers.set(photo_id, setTimeout(() => { line.textContent = "" }, 4000))
  }

  people(names) {
    byId("people").replaceChildren(...names.map(name => Object.assign(document.createElement("li"), { textContent: name })))
  }

  end(why) {
    this.replace([])
    byId("group").replaceChildren(Object.assign(document.createElement("p"), { textContent: why }))
  }
}
