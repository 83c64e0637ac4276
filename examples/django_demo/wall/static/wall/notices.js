// Word to this user alone, on whatever page: shown for a while at the foot of the window.

export function notices(rt) {
  const list = document.getElementById("notices")
  rt.on("message", ({ text, group }) => {
    const notice = document.createElement("a")
    notice.href = `/groups/${group}/`
    notice.textContent = text
    list.prepend(notice)
    setTimeout(() => notice.remove(), 8000)
  })
}
