-- Argo CD's health of a FineTuneJob: Healthy as soon as the job is accepted and is where it should be, also in a queue.
local hs = { status = "Progressing", message = "the operator has not looked at this generation yet" }
local status = obj.status or {}
if status.observedGeneration ~= obj.metadata.generation then
  return hs
end

local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end

local function holds(kind)
  return conditions[kind] ~= nil and conditions[kind].status == "True"
end

local function be(health, kind)
  hs.status = health
  hs.message = conditions[kind].message
end

if holds("Reconciling") then
  be("Progressing", "Reconciling")
elseif holds("Stalled") then
  be("Degraded", "Stalled")
elseif holds("Suspended") then
  be("Suspended", "Suspended")
elseif holds("Ready") then
  be("Healthy", "Ready")
end
local accepted = conditions["Accepted"]
if accepted ~= nil and accepted.reason == "ChangeIgnored" then
  hs.message = hs.message .. "; " .. accepted.message
end
return hs
