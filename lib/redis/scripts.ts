import { createHash } from 'node:crypto';

/** A Lua script, and the digest by which Redis knows it once it has run. */
export interface Script {
  readonly text: string;
  readonly sha: string;
}

/** Redis refuses a time that it cannot add to the present one. */
const LONGEST_MS = 2 ** 52;

/** Returns a time to live as Redis takes it. It may be infinite. */
export function wholeMs(ms: number): number {
  return Math.ceil(Math.min(ms, LONGEST_MS));
}

/** Returns a script for a text. */
export function script(text: string): Script {
  return { text, sha: createHash('sha1').update(text).digest('hex') };
}

/**
 * Says where a log is, and begins a new epoch if there is none, or if the log may have lost its newest records. A server gets a new `run_id` whenever
 * it starts, and a replica that was promoted has another one: the newest records may be missing then. The retention is that of the newest process
 * that has opened the log.
 *
 * KEYS: the stream; the key with the `run_id` of the server that last had it, and the retention.
 * ARGV: the newest epoch and offset that the caller knows, empty if it knows none; three random digits; 1: a restart loses no records; the limit and the ttl
 * of the caller; 1: the caller opens the log; what the caller keeps: empty for one history, `topic` for a history for each topic, `all` for both. A log that is opened
 * with one history, and had one for each topic, or the other way round, begins a new epoch.
 * Returns the id of the newest entry, the limit, the ttl, and what is kept.
 */
export const ADOPT = script(`
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
-- Changes nothing. A replica refuses it, as it would refuse to append.
local probe = redis.pcall('PEXPIRE', KEYS[2], 1, 'XX')
if type(probe) == 'table' and string.find(probe.err, '^READONLY') then return probe end
local last = redis.pcall('XINFO', 'STREAM', KEYS[1])
if last.err and not string.find(last.err, 'no such key', 1, true) then return last end
local epoch, offset = '0', '0'
for i = 1, #last - 1, 2 do
  if last[i] == 'last-generated-id' then epoch, offset = string.match(last[i + 1], '(%d+)-(%d+)') end
end
local stored = redis.call('GET', KEYS[2]) or ''
local owner, limit, ttl, kept = string.match(stored, '^(%x+) (%S+) (%S+) ?(%S*)$')
local opens = ARGV[7] == '1'
local differs = owner and (kept == '') ~= (ARGV[8] == '')
if not owner or opens then limit, ttl, kept = ARGV[5], ARGV[6], ARGV[8] end
local function found(id)
  local state = run .. ' ' .. limit .. ' ' .. ttl
  if kept ~= '' then state = state .. ' ' .. kept end
  if state ~= stored then redis.call('SET', KEYS[2], state) end
  return {id, limit, ttl, kept}
end

local function padded(digits) return string.rep('0', 20 - #digits) .. digits end
local highest, known = padded(epoch), padded(ARGV[1])
local lost = epoch == '0' or highest < known or (highest == known and tonumber(offset) < tonumber(ARGV[2]))
if opens and differs then lost = true end
if not lost and (owner == run or ARGV[4] == '1') then return found(epoch .. '-' .. offset) end

-- Numbers of Lua are too small for an epoch.
local time = redis.call('TIME')
local new = time[1] .. string.format('%06d', time[2]) .. ARGV[3]
if known > highest then highest = known end
if padded(new) <= highest then
  local low = tonumber(string.sub(highest, -9)) + 1
  local high = tonumber(string.sub(highest, 1, -10))
  if low == 1000000000 then low, high = 0, high + 1 end
  new = string.gsub(string.format('%.0f%09d', high, low), '^0+', '')
end
redis.call('XADD', KEYS[1], 'MAXLEN', 0, new .. '-0', 'd', '')
return found(new .. '-0')
`);

/** Functions of the scripts that append: where the log is, and whether a hub could deliver a record that another program appends. */
export const CHECK = `
-- Every subscriber of a hub reads the record, so it has to be one that the hub itself would write.
local function problemOf(fields)
  local given = { e = 'json' }
  for i = 1, #fields - 1, 2 do given[fields[i]] = fields[i + 1] end
  local data, encoding, topic = given.d, given.e, given.o
  if not data then return 'the field d, the data, is missing' end
  if encoding == 'json' then
    local before = cjson.decode_invalid_numbers()
    cjson.decode_invalid_numbers(false)
    local valid = pcall(cjson.decode, data)
    cjson.decode_invalid_numbers(before)
    if not valid or string.find(data, '[%z\\1-\\31]') then return 'the data is not JSON on one line' end
  elseif encoding == 'base64' then
    if not string.find(data, '^[%w+/]*=?=?$') then return 'the data is not base64' end
  elseif encoding ~= 'text' then
    return 'the field e, the encoding, is json, text or base64'
  end
  if given.y and string.find(given.y, '[\\r\\n]') then return 'the field y, the type, contains CR or LF' end
  -- Clients take these for events of the hub itself.
  local own = { reset = true, lagged = true, position = true, shutdown = true }
  if given.y and own[given.y] then return 'the field y, the type, is one of the events of hubs' end
  if topic and (topic == '' or #topic > 1024 or string.find(topic, '[%z\\1-\\31\\127]')) then
    return 'the field o, the topic, is 1 to 1024 bytes without control characters'
  end
end

-- Returns whether processes have opened the hub with a history for each topic. Only other programs need to ask.
local function hasTopics(hub)
  local state = redis.call('GET', hub .. ':run') or ''
  return string.find(state, ' topic$') or string.find(state, ' all$')
end

-- Returns the epoch, an error, and the newest offset.
local function presentEpoch()
  local state = redis.pcall('XINFO', 'STREAM', KEYS[1])
  if state.err then
    if string.find(state.err, 'no such key', 1, true) then return nil end
    return nil, state
  end
  for i = 1, #state - 1, 2 do
    if state[i] == 'last-generated-id' then
      local epoch, offset = string.match(state[i + 1], '(%d+)-(%d+)')
      return epoch, nil, offset
    end
  end
end
`;

/**
 * Appends a record to the log of a hub. Programs in other languages can use it, too.
 *
 * KEYS: the stream; optionally the key that stands for the record: if it was used before, nothing is appended.
 * ARGV: the epoch, or empty for the present one; how many records the stream keeps; the channel to publish the record on, or empty;
 * the number of the arguments that follow with fields and values; these; with the second key, how long to remember it, in milliseconds.
 * Returns the id of the record: epoch, hyphen, offset. Nil if the log does not exist in this epoch. A record without a time comes from another
 * program: an error is returned if a hub could not deliver it.
 */
export const APPEND = script(`${CHECK}
local epoch = ARGV[1]
if epoch == '' and hasTopics(KEYS[1]) then
  return redis.error_reply('ERR the hub has a history for each topic. Use append-topic.lua')
end
if epoch == '' or KEYS[2] then
  local present, err = presentEpoch()
  if err or not present then return err or false end
  if epoch ~= '' and epoch ~= present then return false end
  epoch = present
end
if KEYS[2] then
  local earlier = redis.call('GET', KEYS[2])
  -- If the log was lost since then, so was the record.
  if earlier and string.match(earlier, '%d+') == epoch then return earlier end
end

local count = tonumber(ARGV[4])
local fields = {}
local timed = false
for i = 5, 4 + count do
  fields[#fields + 1] = ARGV[i]
  if i % 2 == 1 and ARGV[i] == 's' then timed = true end
end
if not timed then
  local problem = problemOf(fields)
  if problem then return redis.error_reply('ERR ' .. problem) end
  local time = redis.call('TIME')
  fields[#fields + 1] = 's'
  fields[#fields + 1] = time[1] .. string.format('%03d', math.floor(time[2] / 1000))
end

local id = redis.pcall('XADD', KEYS[1], 'NOMKSTREAM', 'MAXLEN', '~', ARGV[2], epoch .. '-*', unpack(fields))
if type(id) == 'table' then
  -- A later epoch has begun.
  if string.find(id.err, 'equal or smaller', 1, true) then return false end
  return id
end
if not id then return false end
if KEYS[2] then redis.call('SET', KEYS[2], id, 'PX', ARGV[5 + count] or 120000) end
if ARGV[3] ~= '' then
  table.insert(fields, 1, id)
  redis.pcall('SPUBLISH', ARGV[3], cjson.encode(fields))
end
return id
`);

/**
 * Reads a page of records that are kept: not more than the newest ones, and not those that are too old.
 *
 * KEYS: the stream.
 * ARGV: the offset to read after; the number of records to return; how many records are kept; the time, in milliseconds, up to which a record
 * is too old; how many characters to return about.
 * Returns entries of the stream.
 */
export const READ = script(`
local state = redis.pcall('XINFO', 'STREAM', KEYS[1])
if state.err then
  if string.find(state.err, 'no such key', 1, true) then return {} end
  return state
end
local epoch, last
for i = 1, #state - 1, 2 do
  if state[i] == 'last-generated-id' then epoch, last = string.match(state[i + 1], '(%d+)-(%d+)') end
end
last = tonumber(last)

local function page(first, count)
  return redis.call('XRANGE', KEYS[1], epoch .. '-' .. string.format('%.0f', first), '+', 'COUNT', count)
end
local function expired(entry)
  for i = #entry[2] - 1, 1, -2 do
    if entry[2][i] == 's' then return (tonumber(entry[2][i + 1]) or 0) <= tonumber(ARGV[4]) end
  end
  return false
end

local first = math.max(tonumber(ARGV[1]) + 1, last - tonumber(ARGV[3]) + 1)
if first > last then return {} end
local oldest = page(first, 1)[1]
if not oldest then return {} end
if expired(oldest) then
  -- Times increase with the offsets, so the first record that is young enough can be searched by halves.
  local low, high = first, last + 1
  while low < high do
    local middle = math.floor((low + high) / 2)
    local entry = page(middle, 1)[1]
    if entry and expired(entry) then low = middle + 1 else high = middle end
  end
  first = low
end

local found, count, size = {}, tonumber(ARGV[2]), 0
while #found < count and size < tonumber(ARGV[5]) do
  local wanted = math.min(64, count - #found)
  local entries = page(first, wanted)
  for _, entry in ipairs(entries) do
    found[#found + 1] = entry
    for _, value in ipairs(entry[2]) do size = size + #value end
    if size >= tonumber(ARGV[5]) then break end
  end
  if #entries < wanted then break end
  first = tonumber(string.match(entries[#entries][1], '-(%d+)')) + 1
end
return found
`);

/**
 * Stores figures of a process in the roster of a log, and removes the processes whose time is over.
 *
 * KEYS: the sorted set of the processes; the hash with the figures of the process. Its field without a name counts the runs of this script.
 * ARGV: the process; the time, in milliseconds, after which it is removed; how many runs the caller knows of; the number of names that follow, whose
 * figures are removed; these; names and figures to store.
 * Returns how many times the script has run for this process while it was in the roster, with this run. 1 if it was not, or if figures were lost.
 */
export const PUT = script(`
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local runs = tonumber(redis.call('HMGET', KEYS[2], '')[1] or 0)
if runs < tonumber(ARGV[3]) then
  -- A snapshot, or a replica that was behind: newer figures are lost, and those that are there may be wrong.
  redis.call('PEXPIRE', KEYS[2], 0)
  runs = 0
end

-- Lua cannot pass on more than some thousand arguments.
local function each(command, from, to)
  for first = from, to, 4000 do
    redis.call(command, KEYS[2], unpack(ARGV, first, math.min(first + 3999, to)))
  end
end
local stored = 5 + ARGV[4]
each('HDEL', 5, stored - 1)
each('HSET', stored, #ARGV)
redis.call('HSET', KEYS[2], '', runs + 1)
redis.call('PEXPIRE', KEYS[2], ARGV[2])

redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[2]), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
if last[2] then redis.call('PEXPIRE', KEYS[1], string.format('%.0f', last[2] - now)) end
return runs + 1
`);

/**
 * Lists the processes in the roster of a log.
 *
 * KEYS: the sorted set of the processes.
 * Returns those whose time is not over.
 */
export const PROCESSES = script(`
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
return redis.call('ZRANGE', KEYS[1], string.format('(%.0f', now), '+inf', 'BYSCORE')
`);
