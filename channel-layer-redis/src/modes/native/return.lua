-- KEYS: queue. ARGV: lifetime in ms, then elements, the last one first.
for at = 2, #ARGV do redis.call('LPUSH', KEYS[1], ARGV[at]) end
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return #ARGV - 1
