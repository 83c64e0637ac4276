// Sends the two forms without leaving the page, and takes files dropped anywhere on it. Knows nothing of realtime.

const MOST_BYTES = 12 * 1024 * 1024 // as in the settings; the server decides

export function sendForms({ shared }) {
  const form = document.getElementById("upload")
  const simulate = document.getElementById("simulate")
  const { picture, author } = form.elements
  const preview = document.getElementById("preview")
  const problem = document.getElementById("problem")
  const complain = text => {
    problem.textContent = text
    problem.toggleAttribute("data-empty", text.trim() === "")
  }
  complain(problem.textContent)

  author.value ||= localStorage.getItem("author") ?? ""

  const showPreview = () => {
    const [file] = picture.files
    if (preview.src) URL.revokeObjectURL(preview.src)
    preview.removeAttribute("src")
    if (file) preview.src = URL.createObjectURL(file)
    preview.hidden = !file
    complain(file && file.size > MOST_BYTES ? "That file is larger than 12 MB." : "")
  }
  preview.addEventListener("error", () => (preview.hidden = true))
  picture.addEventListener("change", showPreview)

  form.addEventListener("submit", async event => {
    event.preventDefault()
    if (problem.textContent && picture.files[0]?.size > MOST_BYTES) return
    const photo = await send(form, complain)
    if (!photo) return
    localStorage.setItem("author", author.value)
    form.reset()
    author.value = photo.author
    showPreview()
    shared(photo)
  })
  simulate.addEventListener("submit", event => {
    event.preventDefault()
    send(simulate, complain)
  })

  // Files dropped anywhere
  const target = document.getElementById("drop-anywhere")
  const brings = event => event.dataTransfer?.types.includes("Files")
  let depth = 0 // dragenter and dragleave come for every element that is crossed
  addEventListener("dragenter", event => {
    if (brings(event)) target.hidden = ++depth === 0
  })
  addEventListener("dragleave", event => {
    if (brings(event)) target.hidden = --depth === 0
  })
  addEventListener("dragover", event => brings(event) && event.preventDefault())
  addEventListener("drop", event => {
    if (!brings(event)) return
    event.preventDefault()
    depth = 0
    target.hidden = true
    picture.files = event.dataTransfer.files
    showPreview()
    document.getElementById("share").open = true
    author.value ? form.requestSubmit() : author.focus()
  })
}

// Sends a form as the browser would; returns the new photo, or undefined after a complaint.
async function send(form, complain) {
  const button = form.querySelector("button")
  button.disabled = true
  try {
    const answer = await fetch(form.action, {
      method: "POST",
      body: new FormData(form),
      headers: { Accept: "application/json" },
    })
    const said = await answer.json()
    complain("")
    if (answer.ok) return said
    complain(Object.values(said.errors).flat().map(error => error.message).join(" "))
  } catch {
    complain("That did not reach the server. Please try again.")
  } finally {
    button.disabled = false
  }
}
