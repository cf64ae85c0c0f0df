import { CHECK, script } from './scripts.js';

/** How many records of a log are appended from one search for topics without records to the next, and how many topics a search removes from the index. */
const PRUNE_EVERY = 64;
const PRUNE_COUNT = 128;

const NEWEST = `
local function highestOf(epoch) return epoch .. '-18446744073709551615' end

-- Returns the offset of the newest record of a topic, if its stream has it: the topic is not in the index any more if that was lost.
local function newestIn(stream, epoch)
  local last = redis.call('XREVRANGE', stream, highestOf(epoch), epoch, 'COUNT', 1)[1]
  return last and string.match(last[1], '-(%d+)')
end
`;

/**
 * Appends a record to a log with a history for each topic, and publishes it on the channel that is named like the stream of the topic: an array of its id and
 * its fields. Programs in other languages can use it, too.
 *
 * The offset comes from the stream of the hub. The index has the newest offset of each topic, and a member with a newline and the epoch: all topics that
 * are not in the index have no newer record than the score of that member. So the loss of any of these keys, by eviction or by hand, is noticed. A topic leaves the index
 * some time after its stream has expired.
 *
 * The field `p` of a record is the offset of the record before it in its topic. If that is not in the index, it is a hyphen and an offset: the topic has no record
 * between that and this one.
 *
 * KEYS: the stream of the hub; the index; the stream of the topic; optionally the key that stands for the record: if it was used before, nothing is appended.
 * ARGV: the epoch, or empty for the present one, if the caller is another program; the topic; how many records the topic keeps, and for how many milliseconds; how
 * many records the stream of the hub keeps, 0 for none; the channel to publish all records of the hub on, or empty; how long to remember the last key, in milliseconds;
 * fields and values.
 * Returns the id of the record. Nil if the log does not exist in this epoch. An error is returned if a hub could not deliver a record of another program.
 */
export const TOPIC_APPEND = script(`${CHECK}${NEWEST}
local hub, index, stream, topic, kept = KEYS[1], KEYS[2], KEYS[3], ARGV[2], ARGV[5]
local fields, epoch = {unpack(ARGV, 8)}, ARGV[1]
if epoch == '' then
  local problem = problemOf({'o', topic, unpack(fields)})
  if not problem and stream ~= hub .. ':t:' .. topic then problem = 'the stream of the topic is ' .. hub .. ':t:' .. topic end
  if not hasTopics(hub) then problem = 'the hub has no history for each topic. Use append.lua' end
  if problem then return redis.error_reply('ERR ' .. problem) end
end
if epoch == '' or KEYS[4] then
  local present, err = presentEpoch()
  if err or not present then return err or false end
  if epoch ~= '' and epoch ~= present then return false end
  epoch = present
end
if KEYS[4] then
  local earlier = redis.call('GET', KEYS[4])
  -- If the log was lost since then, so was the record.
  if earlier and string.match(earlier, '%d+') == epoch then return earlier end
end

local marker = '\\n' .. epoch
local known = redis.call('ZMSCORE', index, marker, topic)
local previous = known[1] and known[2] or newestIn(stream, epoch)
local time = redis.call('TIME')
time = time[1] .. string.format('%03d', math.floor(time[2] / 1000))

local id
if kept == '0' then
  id = redis.pcall('XADD', hub, 'NOMKSTREAM', 'MAXLEN', 0, epoch .. '-*', 'd', '')
else
  id = redis.pcall('XADD', hub, 'NOMKSTREAM', 'MAXLEN', '~', kept, epoch .. '-*', 'o', topic, 'p', previous or '0', 's', time, unpack(fields))
end
if type(id) == 'table' then
  -- A later epoch has begun.
  if string.find(id.err, 'equal or smaller', 1, true) then return false end
  return id
end
local offset = id and string.match(id, '-(%d+)')
-- An epoch begins with the offset 1. This one was not begun by a process that has found the log lost.
if not offset or offset == '0' then return false end

if not known[1] then
  -- A new epoch, or the index is lost.
  redis.call('UNLINK', index)
  known[1] = string.format('%.0f', offset - 1)
  redis.call('ZADD', index, known[1], marker)
end
fields[#fields + 1] = 'p'
fields[#fields + 1] = previous or '-' .. known[1]
fields[#fields + 1] = 's'
fields[#fields + 1] = time
local function add() return redis.pcall('XADD', stream, 'MAXLEN', ARGV[3], id, unpack(fields)) end
local added = add()
if type(added) == 'table' and string.find(added.err, 'equal or smaller', 1, true) then
  -- The stream is of an epoch that the hub has lost, and has a higher number because the clock was set back.
  redis.call('UNLINK', stream)
  added = add()
end
if type(added) == 'table' then return added end
redis.call('PEXPIRE', stream, ARGV[4])
redis.call('ZADD', index, offset, topic)
if KEYS[4] then redis.call('SET', KEYS[4], id, 'PX', ARGV[7]) end

table.insert(fields, 1, id)
redis.pcall('SPUBLISH', stream, cjson.encode(fields))
if ARGV[6] ~= '' then
  fields[#fields + 1] = 'o'
  fields[#fields + 1] = topic
  redis.pcall('SPUBLISH', ARGV[6], cjson.encode(fields))
end

if offset % ${PRUNE_EVERY} == 0 then
  local oldest, gone, last = redis.call('ZRANGE', index, 1, ${PRUNE_COUNT}, 'WITHSCORES'), {}, nil
  for i = 1, #oldest, 2 do
    -- In a Cluster, keys that are being moved are not found, but an error.
    if redis.pcall('EXISTS', hub .. ':t:' .. oldest[i]) ~= 0 then break end
    gone[#gone + 1], last = oldest[i], oldest[i + 1]
  end
  if last then
    redis.call('ZREM', index, unpack(gone))
    redis.call('ZADD', index, last, marker)
  end
end
return id
`);

/**
 * Reads records of topics.
 *
 * KEYS: the stream of the hub; the index; the stream of each topic.
 * ARGV: how many records of each topic to return; how many records of a topic are kept, and for how many milliseconds; about how many characters to return; for each
 * topic, its name and the offset to read after.
 * Returns the id of the newest record of the log, and for each topic the offset after which all its records are in the log, and entries of its stream. Nil if the log
 * does not exist.
 */
export const TOPIC_READ = script(`${CHECK}${NEWEST}
local epoch, err, end_ = presentEpoch()
if err or not epoch then return err or false end
local marker = redis.call('ZSCORE', KEYS[2], '\\n' .. epoch)
local most, limit, size = tonumber(ARGV[1]), tonumber(ARGV[2]), 0
local time = redis.call('TIME')
local expired = time[1] * 1000 + math.floor(time[2] / 1000) - tonumber(ARGV[3])

local function valueOf(entry, name)
  for i = #entry[2] - 1, 1, -2 do
    if entry[2][i] == name then return entry[2][i + 1] end
  end
end

local highest = highestOf(epoch)
local function id(offset) return epoch .. '-' .. string.format('%.0f', offset) end
local function isExpired(entry) return (tonumber(valueOf(entry, 's')) or 0) <= expired end

-- Returns the lowest offset of a topic that may be kept. Its stream may have more records than are kept now.
local function lowest(stream)
  local length = redis.call('XLEN', stream)
  if length == 0 or limit == 0 then return nil end
  if length > limit then
    local kept = redis.call('XREVRANGE', stream, highest, '-', 'COUNT', limit)
    local of, offset = string.match(kept[#kept] and kept[#kept][1] or '', '(%d+)-(%d+)')
    if of == epoch then return tonumber(offset) end
  end
  return 0
end

local function read(stream, first)
  local found, from = {}, id(first)
  local count = size < tonumber(ARGV[4]) and most or 1
  while true do
    local step = math.min(64, count - #found)
    local entries = redis.call('XRANGE', stream, from, highest, 'COUNT', step)
    for _, entry in ipairs(entries) do
      if #found > 0 or not isExpired(entry) then
        found[#found + 1] = entry
        for _, value in ipairs(entry[2]) do size = size + #value end
        if size >= tonumber(ARGV[4]) then return found end
      end
    end
    if #entries < step or #found >= count then return found end
    from = '(' .. entries[#entries][1]
  end
end

-- Most topics have nothing new, as after a lost connection. The index shows it, so that their streams need not be read.
local names = {}
for i = 5, #ARGV, 2 do names[#names + 1] = ARGV[i] end
local scores = marker and #names > 0 and redis.call('ZMSCORE', KEYS[2], unpack(names)) or {}

local topics = {}
for i = 3, #KEYS do
  local after, newest = tonumber(ARGV[2 * i]), scores[i - 2]
  local found, complete = {}, nil
  if not newest or tonumber(newest) > after then
    local first = lowest(KEYS[i])
    if first then found = read(KEYS[i], math.max(first, after + 1)) end
    newest = newest or first and newestIn(KEYS[i], epoch)
  end
  if found[1] then
    complete = string.gsub(valueOf(found[1], 'p'), '^%-', '')
  else
    complete = newest or marker or end_
  end
  local last = found[#found]
  local of, offset = string.match(last and last[1] or '', '(%d+)-(%d+)')
  topics[#topics + 1] = {complete, found, last and newest and tonumber(offset) < tonumber(newest) and 1 or 0}
end
return {epoch .. '-' .. end_, topics}
`);
