// The list of groups: it changes when somebody takes us into one.
import { connect } from "/rt/client.js"
import { badge } from "../wall/badge.js"
import { notices } from "../wall/notices.js"

const rt = connect()
badge(rt)
notices(rt)
rt.on("message", ({ group }) => document.querySelector(`#groups a[href$="/${group}/"]`) ?? setTimeout(() => location.reload(), 1500))
