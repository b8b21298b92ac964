-- KEYS: group key. ARGV: scores up to which memberships have expired. Returns the members.
redis.call('ZREMRANGEBYSCORE', KEYS[1], 0, ARGV[1])
return redis.call('ZRANGE', KEYS[1], 0, -1)
