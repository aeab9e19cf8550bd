// A KafkaJS consumer as a user would write it: reads the librdkafka-style file that quickstart wrote, joins a group and
// prints partition, offset and value until it is told to stop.
//
//	node group.js FILE TOPIC GROUP
const fs = require('fs')
const { Kafka, logLevel } = require('kafkajs')

const [file, topic, groupId] = process.argv.slice(2)
const settings = Object.fromEntries(
  fs
    .readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line.includes('=') && !line.startsWith('#'))
    .map((line) => {
      const at = line.indexOf('=')
      return [line.slice(0, at).trim(), line.slice(at + 1).trim()]
    })
)
const options = {
  brokers: settings['bootstrap.servers'].split(','),
  logLevel: logLevel.ERROR,
  retry: { initialRetryTime: 200, maxRetryTime: 1000, retries: 60 },
}
if ((settings['security.protocol'] || '').endsWith('SSL')) {
  options.ssl = { ca: [fs.readFileSync(settings['ssl.ca.location'], 'utf8')] }
}
if (settings['sasl.username']) {
  options.sasl = {
    mechanism: settings['sasl.mechanisms'].toLowerCase(),
    username: settings['sasl.username'],
    password: settings['sasl.password'],
  }
}

const consumer = new Kafka(options).consumer({
  groupId,
  sessionTimeout: 6000,
  rebalanceTimeout: 6000,
  heartbeatInterval: 500,
  maxWaitTimeInMs: 500,
})

async function main() {
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  await consumer.run({
    eachMessage: async ({ partition, message }) => {
      console.log(`${partition} ${message.offset} ${message.value}`)
    },
  })
}

process.on('SIGTERM', async () => {
  await consumer.disconnect()
  process.exit(0)
})
main().catch((error) => {
  console.error(error)
  process.exit(1)
})
