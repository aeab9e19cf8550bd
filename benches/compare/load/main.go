// The load of benches/compare: an unmodified franz-go client, as it comes but for compression, which is off unless it is
// asked for. It produces at full speed to a topic's one partition and reads it back, or does one of the smaller things of
// requests.go and groups.go; one JSON line tells what happened and, for --pid, the CPU seconds (user and system) that the
// broker spent meanwhile.
//
//	load wait|allow|prepare|produce|consume|latency|logins|connections|metadata|rules|members|groups|delete [flags]
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

var (
	bootstrap = flag.String("bootstrap", "127.0.0.1:9092", "host:port")
	ca        = flag.String("ca", "", "the authority's certificate: TLS")
	user      = flag.String("user", "", "SCRAM-SHA-512 with this user")
	password  = flag.String("password", "", "")
	topic     = flag.String("topic", "bench", "")
	pid       = flag.Int("pid", 0, "the broker's process")
	seconds   = flag.Float64("seconds", 4, "produce, logins: how long; wait: at most how long")
	since     = flag.Float64("since", 0, "wait: when the broker was started, in seconds since 1970")
	size      = flag.Int("size", 1024, "bytes of a record's value")
	group     = flag.String("group", "bench", "members, groups: the group, or what the names of the groups begin with")
	count     = flag.Int("count", 1000, "members, groups, rules: how many")
	codec     = flag.String("codec", "none", "none or lz4")
	acks      = flag.String("acks", "all", "all (idempotent) or 1")
	rate      = flag.Float64("rate", 2000, "latency: records a second")
)

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func client(more ...kgo.Opt) *kgo.Client {
	opts := []kgo.Opt{kgo.SeedBrokers(*bootstrap)}
	if *ca != "" {
		pem, err := os.ReadFile(*ca)
		fail(err)
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(pem)
		opts = append(opts, kgo.DialTLSConfig(&tls.Config{RootCAs: pool}))
	}
	if *user != "" {
		opts = append(opts, kgo.SASL(scram.Auth{User: *user, Pass: *password}.AsSha512Mechanism()))
	}
	c, err := kgo.NewClient(append(opts, more...)...)
	fail(err)
	return c
}

// brokerCPU is user + system of the broker in seconds; the kernel counts in hundredths.
func brokerCPU() float64 {
	if *pid == 0 {
		return 0
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", *pid))
	fail(err)
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	ticks := 0
	for _, field := range fields[11:13] {
		n, err := strconv.Atoi(field)
		fail(err)
		ticks += n
	}
	return float64(ticks) / 100
}

type result struct {
	Records int64   `json:"records"`
	Bytes   int64   `json:"bytes"`
	Seconds float64 `json:"seconds"`
	CPU     float64 `json:"broker_cpu_seconds"`
}

func measure(run func() int64) {
	cpu, start := brokerCPU(), time.Now()
	records := run()
	r := result{records, records * int64(*size), time.Since(start).Seconds(), brokerCPU() - cpu}
	fail(json.NewEncoder(os.Stdout).Encode(r))
}

// values are texts that a codec makes about three times smaller, and no two alike.
func values() [][]byte {
	all, x := make([][]byte, 4096), uint32(7)
	for i := range all {
		var text []byte
		for len(text) < *size {
			x = x*1664525 + 1013904223
			text = fmt.Appendf(text, `{"user":%d,"state":"open","amount":%d},`, x>>12, x%9973)
		}
		all[i] = text[:*size]
	}
	return all
}

// producing is how the producer is set up.
func producing() []kgo.Opt {
	opts := []kgo.Opt{kgo.DefaultProduceTopic(*topic)}
	switch *codec {
	case "none":
		opts = append(opts, kgo.ProducerBatchCompression(kgo.NoCompression()))
	case "lz4":
		opts = append(opts, kgo.ProducerBatchCompression(kgo.Lz4Compression()))
	default:
		fail(fmt.Errorf("unknown codec %s", *codec))
	}
	switch *acks {
	case "all":
	case "1":
		opts = append(opts, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite())
	default:
		fail(fmt.Errorf("unknown acks %s", *acks))
	}
	return opts
}

func produce(ctx context.Context) {
	c := client(producing()...)
	v := values()
	fail(c.ProduceSync(ctx, &kgo.Record{Value: v[0]}).FirstErr()) // connects, logs in, learns the metadata
	measure(func() int64 {
		var made int64
		promise := func(_ *kgo.Record, err error) {
			fail(err)
			made++ // franz-go calls promises one at a time
		}
		end := time.Now().Add(time.Duration(*seconds * float64(time.Second)))
		for i := 0; i&255 != 0 || time.Now().Before(end); i++ {
			c.Produce(ctx, &kgo.Record{Value: v[i%len(v)]}, promise)
		}
		fail(c.Flush(ctx))
		return made
	})
}

func consume(ctx context.Context) {
	c := client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{*topic: {0: kgo.NewOffset().AtStart()}}))
	ends, err := kadm.NewClient(c).ListEndOffsets(ctx, *topic)
	fail(err)
	end, found := ends.Lookup(*topic, 0)
	if !found || end.Err != nil {
		fail(fmt.Errorf("no end offset of %s: %v", *topic, end.Err))
	}
	measure(func() int64 {
		var read int64
		for read < end.Offset {
			fetches := c.PollFetches(ctx)
			fail(fetches.Err())
			fetches.EachRecord(func(r *kgo.Record) {
				if r.Offset != read || len(r.Value) != *size {
					fail(fmt.Errorf("record %d of %d bytes where %d was due", r.Offset, len(r.Value), read))
				}
				read++
			})
		}
		return read
	})
}

// logins opens one connection after the other, each with a whole TLS handshake and a SCRAM login; "records" counts them.
func logins(ctx context.Context) {
	login := func() {
		c := client()
		fail(c.Ping(ctx))
		c.Close()
	}
	repeat(login)
}

func prepare(ctx context.Context) {
	c := kadm.NewClient(client())
	_, err := c.CreateTopic(ctx, 1, 1, nil, *topic)
	fail(err)
	for ready := false; !ready; time.Sleep(20 * time.Millisecond) {
		md, err := c.Metadata(ctx, *topic)
		fail(err)
		detail := md.Topics[*topic]
		ready = detail.Err == nil && len(detail.Partitions) == 1 && detail.Partitions[0].Leader >= 0
	}
}

// allow gives User:bench what it needs on topics that begin with bench, and nothing else.
func allow(ctx context.Context) {
	acl := kadm.NewACLs().Allow("User:bench").AllowHosts().Topics("bench").ResourcePatternType(kadm.ACLPatternPrefixed).
		Operations(kadm.OpRead, kadm.OpWrite, kadm.OpDescribe)
	results, err := kadm.NewClient(client()).CreateACLs(ctx, acl)
	fail(err)
	for _, r := range results {
		fail(r.Err)
	}
}

// wait prints how long after --since a Metadata request was answered.
func wait(ctx context.Context) {
	for ctx.Err() == nil {
		socket, err := net.Dial("tcp", *bootstrap)
		if err != nil {
			time.Sleep(time.Millisecond)
			continue
		}
		fail(socket.Close())
		c := client(kgo.RetryTimeout(time.Second))
		md, err := kadm.NewClient(c).BrokerMetadata(ctx)
		c.Close()
		if err == nil && len(md.Brokers) > 0 {
			took := float64(time.Now().UnixNano())/1e9 - *since
			fail(json.NewEncoder(os.Stdout).Encode(map[string]float64{"seconds": took}))
			return
		}
	}
	fail(errors.New("the broker does not answer"))
}

func main() {
	if len(os.Args) < 2 {
		fail(errors.New("which of wait, allow, prepare, produce, consume, latency, logins, connections, metadata, rules, members, groups, delete?"))
	}
	fail(flag.CommandLine.Parse(os.Args[2:]))
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(*seconds+60)*time.Second)
	defer cancel()
	switch os.Args[1] {
	case "prepare":
		prepare(ctx)
	case "allow":
		allow(ctx)
	case "wait":
		wait(ctx)
	case "produce":
		produce(ctx)
	case "consume":
		consume(ctx)
	case "latency":
		latency(ctx)
	case "logins":
		logins(ctx)
	case "connections":
		connections()
	case "metadata":
		metadata(ctx)
	case "rules":
		rules(ctx)
	case "members":
		members()
	case "groups":
		groups()
	case "delete":
		_, err := kadm.NewClient(client()).DeleteTopics(ctx, *topic)
		if !errors.Is(err, kerr.UnknownTopicOrPartition) {
			fail(err)
		}
	default:
		fail(fmt.Errorf("unknown: %s", os.Args[1]))
	}
}
