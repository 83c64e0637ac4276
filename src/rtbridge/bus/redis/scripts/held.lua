-- Who holds a lease of a group.
--
-- KEYS  1 due, 2 values, 3 claims: see hold.lua
--
-- Promise: returns {name, value, name, value, ...} of those that have not lapsed.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local answer = {}
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], string.format('(%.0f', now), '+inf')) do
  answer[#answer + 1] = name
  answer[#answer + 1] = redis.call('HGET', KEYS[2], name) or ''
end
return answer
