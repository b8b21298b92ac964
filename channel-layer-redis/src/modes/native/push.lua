-- KEYS: queue, and the key of the message's id if several processes may push it. ARGV: message, expiry in ms, capacity,
-- lifetime of an id in ms. Returns 1 when the message was added, 0 when the channel is full, 2 when the id was known.
if KEYS[2] and not redis.call('SET', KEYS[2], '1', 'NX', 'PX', ARGV[4]) then return 2 end
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
local expiry = tonumber(ARGV[2])
redis.call('RPUSH', KEYS[1], string.format('%.0f:', now + expiry) .. ARGV[1])
if redis.call('PTTL', KEYS[1]) < expiry then redis.call('PEXPIRE', KEYS[1], expiry) end
return 1
