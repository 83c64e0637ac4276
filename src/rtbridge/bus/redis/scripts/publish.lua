-- Append publications to a channel's log and tell who watches.
--
-- KEYS  1 receipts, a hash: for each place "<number> <position>" of what was published from there last
--       2 log
--       3 history
-- ARGV  1 channel
--       2 kind: h, l or v
--       3 publications to keep
--       4 milliseconds to keep the history; 0: as long as the log
--       5 milliseconds to keep the log
--       6 PUBLISH or SPUBLISH
--       7 where to
--       8 milliseconds to keep the receipts
--       9 epoch for a new log
--      10 fence
--      11... for each publication: place, number, "<cause>\n<data>"
--
-- Promise: returns a position "<epoch>.<offset>" for each. The offset is the log's last plus one; all of it happens or
-- none. Where a place's receipt has the number or a higher one it was done already: then nothing is published, and
-- the position is the receipt's. The notification is "<channel>\n<epoch> <first offset> <size> <size> ...", then for
-- each "\n<cause>\n<data>", of which the size is that of "<cause>\n<data>".

local FIXED = 10
local count = (#ARGV - FIXED) / 3
local places = {}
for i = 1, count do
  places[i] = ARGV[FIXED + 3 * i - 2]
end
local found, receipts = redis.call('HMGET', KEYS[1], unpack(places)), {}
for i = 1, count do
  receipts[places[i]] = found[i]
end

local epoch, last, kind = open(KEYS[2], KEYS[3], ARGV[9], ARGV[10])
local size = tonumber(ARGV[3])
local positions, marks, entries, news, sizes = {}, {}, {}, {}, {}
local fresh = 0
for i = 1, count do
  local place, number, text = places[i], ARGV[FIXED + 3 * i - 1], ARGV[FIXED + 3 * i]
  local receipt = receipts[place]
  if receipt and tonumber(string.match(receipt, '^%d+')) >= tonumber(number) then
    positions[i] = string.match(receipt, '%S+$')
  else
    fresh = fresh + 1
    local offset = last + fresh
    positions[i] = epoch .. '.' .. offset
    receipt = number .. ' ' .. positions[i]
    receipts[place] = receipt -- the same may come twice, when it is repeated before the first has left
    marks[2 * fresh - 1], marks[2 * fresh] = place, receipt
    entries[fresh] = offset .. ' ' .. text
    news[fresh], sizes[fresh] = text, #text
  end
end
if fresh == 0 then
  return positions
end

if kind ~= ARGV[2] then
  redis.call('DEL', KEYS[3]) -- of another kind, perhaps with holes
end
save(KEYS[2], epoch, last + fresh, ARGV[2], ARGV[10], ARGV[5])
if size > 0 then
  local over = redis.call('RPUSH', KEYS[3], unpack(entries, math.max(1, fresh - size + 1))) - size
  if over == 1 then
    redis.call('LPOP', KEYS[3])
  elseif over > 1 then
    redis.call('LTRIM', KEYS[3], -size, -1)
  end
  redis.call('PEXPIRE', KEYS[3], ARGV[4] == '0' and ARGV[5] or ARGV[4])
end
redis.call('HSET', KEYS[1], unpack(marks))
redis.call('PEXPIRE', KEYS[1], ARGV[8])
local head = ARGV[1] .. '\n' .. epoch .. ' ' .. (last + 1) .. ' ' .. table.concat(sizes, ' ') .. '\n'
redis.call(ARGV[6], ARGV[7], head .. table.concat(news, '\n'))
return positions
