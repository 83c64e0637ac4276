-- Put before publish, read and positions: the state of a log.
--
-- A log is a string key "<epoch> <last offset> <kind> <fence>"; kind is h(istory), l(atest) or v(olatile). Beside it is
-- its history: a list of entries "<offset> <cause>\n<data>", oldest first, whose offsets end at the last one.
--
-- The fence names the run of replication in which the log was last written. Where it is not the server's present one,
-- this server may have missed writes that another one acknowledged: offsets would be given twice. So the log goes on in
-- a new epoch; offsets and history stay.

-- The log: epoch, last, kind, and whether that has yet to be written.
local function open(log, history, new_epoch, fence)
  local value = redis.call('GET', log)
  local epoch, last, kind, fenced
  if value then
    epoch, last, kind, fenced = string.match(value, '^(%S+) (%d+) (%a) (%S+)$')
  end
  if not epoch then
    redis.call('DEL', history) -- what a log left behind that expired or was evicted
    return new_epoch, 0, 'h', true
  end
  if fenced ~= fence then
    return new_epoch, tonumber(last), kind, true
  end
  return epoch, tonumber(last), kind, false
end

local function save(log, epoch, last, kind, fence, ttl)
  redis.call('SET', log, epoch .. ' ' .. last .. ' ' .. kind .. ' ' .. fence, 'PX', ttl)
end

-- Give a log at least `ttl` from now, if it has not. It gets a little more, so that most renewals write nothing. A latest
-- value lives as long as its log.
local function renew(log, history, kind, ttl)
  if redis.call('PTTL', log) < ttl then
    local longer = string.format('%.0f', ttl + math.floor(ttl / 64))
    redis.call('PEXPIRE', log, longer)
    if kind == 'l' then
      redis.call('PEXPIRE', history, longer)
    end
  end
end

