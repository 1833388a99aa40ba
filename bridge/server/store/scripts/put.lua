-- KEYS: record. ARGV: writer, bytes, how long.
call('HSET', KEYS[1], ARGV[2], ARGV[3])
call('PEXPIRE', KEYS[1], ARGV[4])
return {}
