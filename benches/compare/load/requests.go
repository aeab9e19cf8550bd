package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// repeat does one thing for so many seconds; "records" counts how often.
func repeat(one func()) {
	one()
	*size = 0
	measure(func() int64 {
		var done int64
		for end := time.Now().Add(time.Duration(*seconds * float64(time.Second))); time.Now().Before(end); done++ {
			one()
		}
		return done
	})
}

// metadata asks for one topic, again and again, on one connection.
func metadata(ctx context.Context) {
	c := client()
	repeat(func() {
		request := kmsg.NewPtrMetadataRequest()
		asked := kmsg.NewMetadataRequestTopic()
		asked.Topic = topic
		request.Topics = append(request.Topics, asked)
		answer, err := request.RequestWith(ctx, c)
		fail(err)
		fail(kerr.ErrorForCode(answer.Topics[0].ErrorCode))
	})
}

// connections opens one after the other in clear, asks each for ApiVersions and closes it.
func connections() {
	// ApiVersions v0, correlation 1, no client id.
	request := []byte{0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff}
	repeat(func() {
		socket, err := net.Dial("tcp", *bootstrap)
		fail(err)
		_, err = socket.Write(request)
		fail(err)
		var length [4]byte
		_, err = io.ReadFull(socket, length[:])
		fail(err)
		_, err = io.CopyN(io.Discard, socket, int64(binary.BigEndian.Uint32(length[:])))
		fail(err)
		fail(socket.Close())
	})
}

// latency produces --rate records a second, each on its own, and tells how long after its time each was acknowledged.
func latency(ctx context.Context) {
	c := client(append(producing(), kgo.ProducerLinger(0))...)
	v := values()
	fail(c.ProduceSync(ctx, &kgo.Record{Value: v[0]}).FirstErr())
	var lock sync.Mutex
	var took []float64
	cpu, start := brokerCPU(), time.Now()
	gap := time.Duration(float64(time.Second) / *rate)
	count := int(*seconds * *rate)
	for i := range count {
		due := start.Add(time.Duration(i) * gap)
		time.Sleep(time.Until(due))
		c.Produce(ctx, &kgo.Record{Value: v[i%len(v)]}, func(_ *kgo.Record, err error) {
			fail(err)
			lock.Lock()
			took = append(took, time.Since(due).Seconds()*1e3)
			lock.Unlock()
		})
	}
	fail(c.Flush(ctx))
	cpu = brokerCPU() - cpu
	slices.Sort(took)
	at := func(part float64) float64 { return took[min(int(part*float64(len(took))), len(took)-1)] }
	fail(json.NewEncoder(os.Stdout).Encode(map[string]float64{
		"p50_ms": at(0.5), "p99_ms": at(0.99), "p999_ms": at(0.999), "broker_cpu_seconds": cpu,
	}))
}

// rules writes --count ACLs on one topic, each for a user of its own.
func rules(ctx context.Context) {
	c := client()
	*size = 0
	measure(func() int64 {
		for first := 0; first < *count; first += 1000 {
			request := kmsg.NewPtrCreateACLsRequest()
			for user := first; user < min(first+1000, *count); user++ {
				rule := kmsg.NewCreateACLsRequestCreation()
				rule.ResourceType, rule.ResourceName = kmsg.ACLResourceTypeTopic, *topic
				rule.ResourcePatternType = kmsg.ACLResourcePatternTypeLiteral
				rule.Principal, rule.Host = "User:u"+strconv.Itoa(user), "*"
				rule.Operation, rule.PermissionType = kmsg.ACLOperationRead, kmsg.ACLPermissionTypeAllow
				request.Creations = append(request.Creations, rule)
			}
			answer, err := request.RequestWith(ctx, c)
			fail(err)
			for _, one := range answer.Results {
				if one.ErrorCode != 0 {
					fail(fmt.Errorf("a rule is refused: %d", one.ErrorCode))
				}
			}
		}
		return int64(*count)
	})
}
