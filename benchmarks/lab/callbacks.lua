-- Callbacks as a provider sends them, for wrk. Each is a new message; ids and times grow.
--
--   wrk ... -s callbacks.lua URL -- PATH FORM FIRST EACH WINDOW
--
-- FORM is tellabot (urlencoded), scattered (the same, with phone numbers in no order) or herosms
-- (JSON), FIRST the number of the first callback. Each one is sent EACH times, mixed with WINDOW
-- others. With EACH 0, the same WINDOW callbacks repeat.

local path, form, first, each, window
local sent = 0

local TELLABOT = "event=incoming_message&id=%d&timestamp=%d&date_time=%s&from=22000&to=1850%07d"
  .. "&service=Google&reply=G-%06d+is+your+Google+verification+code.&pin=G-%06d&price=1.25"
local HEROSMS = '{"activationId":%d,"service":"go","text":"G-%06d is your Google verification code."'
  .. ',"code":"%06d","country":16,"receivedAt":"%s.%06dZ","id":%d,"phoneFrom":"22000"}'

function init(args)
  path, form = args[1], args[2]
  first, each, window = tonumber(args[3]), tonumber(args[4]), tonumber(args[5])
end

-- The number of the next callback: 0, 1, 2 ... if each is sent once.
local function number()
  local k = sent
  sent = sent + 1
  if each == 0 then
    return k % window
  end
  local block = math.floor(k / (window * each))
  return block * window + k % window
end

-- It shares no factor with the ten million phone numbers, so that each of them comes once.
local SCATTER = 7654321

local function tellabot(n, code, now)
  local phone = (form == "scattered" and n * SCATTER or n) % 10000000
  local shown = os.date("!%Y-%m-%d+%H%%3A%M%%3A%S+UTC", now)
  return string.format(TELLABOT, 10000001 + n, now, shown, phone, code, code)
end

local function herosms(n, code, now)
  local shown = os.date("!%Y-%m-%dT%H:%M:%S", now)
  return string.format(HEROSMS, 100000001 + n, code, code, shown, n % 1000000, 70001 + n)
end

function request()
  local n = first + number()
  -- A copy must equal its first callback, so its time follows from its number. It grows.
  local now = each == 1 and os.time() or 1767225600 + math.floor(n / 1000)
  local code = (n * 7919) % 1000000
  local headers = {["User-Agent"] = "provider/1.0"}
  local body
  if form == "herosms" then
    headers["Content-Type"] = "application/json"
    body = herosms(n, code, now)
  else
    headers["Content-Type"] = "application/x-www-form-urlencoded"
    body = tellabot(n, code, now)
  end
  return wrk.format("POST", path, headers, body)
end
