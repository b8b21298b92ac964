-- KEYS: queue, lease. ARGV: message, lifetime in ms, capacity, node, lease in ms or 0, nodes whose farewell came before.
-- Answers 1 when it was added, 0 when the channel is full, 2 when another process forwards.
local lease = tonumber(ARGV[5])
if lease > 0 then
  -- Who forwards, and those before it that may not be done yet with what came before their farewells.
  local holders = redis.call('GET', KEYS[2]) or ARGV[4]
  if not string.find(holders, ARGV[4], 1, true) then
    local first = string.match(holders, '^%x+')
    if not string.find(ARGV[6], first, 1, true) then return 2 end
    holders = ARGV[4] .. ' ' .. string.sub(holders, 1, 200)
  end
  redis.call('SET', KEYS[2], holders, 'PX', lease)
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local capacity = tonumber(ARGV[3])
local length = redis.call('LLEN', KEYS[1])
while length >= capacity do
  local first = redis.call('LINDEX', KEYS[1], 0)
  if tonumber(string.match(first, '^(%d+):')) > now then return 0 end
  redis.call('LPOP', KEYS[1])
  length = length - 1
end
local lifetime = tonumber(ARGV[2])
redis.call('RPUSH', KEYS[1], string.format('%.0f:', now + lifetime) .. ARGV[1])
if redis.call('PTTL', KEYS[1]) < lifetime then redis.call('PEXPIRE', KEYS[1], lifetime) end
return 1
