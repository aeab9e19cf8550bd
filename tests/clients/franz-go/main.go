// A franz-go client as a user would write it: reads the librdkafka-style file that quickstart wrote, produces what
// stands on standard input line by line, and reads the topic back from its start.
//
//	franz-go produce FILE TOPIC < lines
//	franz-go consume FILE TOPIC COUNT
//	franz-go group FILE TOPIC GROUP [INSTANCE]      until it is told to stop; prints partition, offset and value
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func options(path string) []kgo.Opt {
	text, err := os.ReadFile(path)
	fail(err)
	set := map[string]string{}
	for _, line := range strings.Split(string(text), "\n") {
		key, value, found := strings.Cut(line, "=")
		if found && !strings.HasPrefix(line, "#") {
			set[strings.TrimSpace(key)] = strings.TrimSpace(value)
		}
	}
	opts := []kgo.Opt{kgo.SeedBrokers(strings.Split(set["bootstrap.servers"], ",")...)}
	user, pass := set["sasl.username"], set["sasl.password"]
	switch set["sasl.mechanisms"] {
	case "PLAIN":
		opts = append(opts, kgo.SASL(plain.Auth{User: user, Pass: pass}.AsMechanism()))
	case "SCRAM-SHA-256":
		opts = append(opts, kgo.SASL(scram.Auth{User: user, Pass: pass}.AsSha256Mechanism()))
	case "SCRAM-SHA-512":
		opts = append(opts, kgo.SASL(scram.Auth{User: user, Pass: pass}.AsSha512Mechanism()))
	}
	if strings.HasSuffix(set["security.protocol"], "SSL") {
		ca, err := os.ReadFile(set["ssl.ca.location"])
		fail(err)
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(ca)
		opts = append(opts, kgo.DialTLSConfig(&tls.Config{RootCAs: pool}))
	}
	return opts
}

func main() {
	patience := 30 * time.Second
	if os.Args[1] == "group" {
		patience = 5 * time.Minute
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	verb, file, topic := os.Args[1], os.Args[2], os.Args[3]
	switch verb {
	case "produce":
		client, err := kgo.NewClient(append(options(file), kgo.DefaultProduceTopic(topic))...)
		fail(err)
		defer client.Close()
		lines := bufio.NewScanner(os.Stdin)
		for lines.Scan() {
			result := client.ProduceSync(ctx, kgo.StringRecord(lines.Text()))
			fail(result.FirstErr())
			record, _ := result.First()
			fmt.Printf("%s-%d @ %d\n", record.Topic, record.Partition, record.Offset)
		}
	case "group":
		opts := append(options(file), kgo.ConsumeTopics(topic), kgo.ConsumerGroup(os.Args[4]), kgo.Balancers(kgo.RangeBalancer()),
			kgo.SessionTimeout(6*time.Second), kgo.HeartbeatInterval(500*time.Millisecond), kgo.DisableAutoCommit(),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.BlockRebalanceOnPoll())
		if len(os.Args) > 5 {
			opts = append(opts, kgo.InstanceID(os.Args[5]))
		}
		client, err := kgo.NewClient(opts...)
		fail(err)
		stop, done := signal.NotifyContext(ctx, syscall.SIGTERM)
		defer done()
		for stop.Err() == nil {
			fetches := client.PollFetches(stop)
			fetches.EachRecord(func(r *kgo.Record) {
				fmt.Printf("%d %d %s\n", r.Partition, r.Offset, r.Value)
			})
			fail(client.CommitUncommittedOffsets(ctx))
			client.AllowRebalance()
		}
		client.LeaveGroup()
		client.CloseAllowingRebalance()
	case "consume":
		want, err := strconv.Atoi(os.Args[4])
		fail(err)
		client, err := kgo.NewClient(append(options(file), kgo.ConsumeTopics(topic))...)
		fail(err)
		defer client.Close()
		for seen := 0; seen < want; {
			fetches := client.PollFetches(ctx)
			for _, bad := range fetches.Errors() {
				fail(bad.Err)
			}
			fetches.EachRecord(func(record *kgo.Record) {
				fmt.Println(string(record.Value))
				seen++
			})
		}
	default:
		fail(fmt.Errorf("unknown verb %s", verb))
	}
}
