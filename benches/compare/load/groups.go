package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A member of a group, as the protocol sees it: one connection, one request at a time.
type member struct {
	conn       net.Conn
	format     *kmsg.RequestFormatter
	id         string
	generation int32
	round      byte
}

func newMember() *member {
	conn, err := net.Dial("tcp", *bootstrap)
	fail(err)
	return &member{conn: conn, format: kmsg.NewRequestFormatter(kmsg.FormatterClientID("load"))}
}

// ask sends a request of a version without tagged fields and waits for its answer.
func (m *member) ask(request kmsg.Request, version int16) kmsg.Response {
	request.SetVersion(version)
	_, err := m.conn.Write(m.format.AppendRequest(nil, request, 1))
	fail(err)
	var length [4]byte
	_, err = io.ReadFull(m.conn, length[:])
	fail(err)
	frame := make([]byte, binary.BigEndian.Uint32(length[:]))
	_, err = io.ReadFull(m.conn, frame)
	fail(err)
	response := request.ResponseKind()
	response.SetVersion(version)
	fail(response.ReadFrom(frame[4:]))
	return response
}

func (m *member) join(group string) {
	for {
		request := kmsg.NewPtrJoinGroupRequest()
		request.Group, request.MemberID, request.ProtocolType = group, m.id, "consumer"
		request.SessionTimeoutMillis, request.RebalanceTimeoutMillis = 600_000, 60_000
		protocol := kmsg.NewJoinGroupRequestProtocol()
		// Metadata that changes calls for a new generation, as a leader's coming back does.
		subscription := kmsg.NewConsumerMemberMetadata()
		subscription.Topics, subscription.UserData = []string{*topic}, bytes.Repeat([]byte{m.round}, 80)
		protocol.Name, protocol.Metadata = "range", subscription.AppendTo(nil)
		request.Protocols = append(request.Protocols, protocol)
		answer := m.ask(request, 5).(*kmsg.JoinGroupResponse)
		m.id = answer.MemberID
		switch err := kerr.ErrorForCode(answer.ErrorCode); err {
		case nil:
			m.generation = answer.Generation
			var members []kmsg.JoinGroupResponseMember
			if answer.LeaderID == answer.MemberID {
				members = answer.Members
			}
			if m.sync(group, members) {
				return
			}
		case kerr.MemberIDRequired:
		case kerr.CoordinatorLoadInProgress, kerr.CoordinatorNotAvailable, kerr.NotCoordinator:
			time.Sleep(100 * time.Millisecond)
		default:
			fail(err)
		}
	}
}

// sync is false if a new generation has begun.
func (m *member) sync(group string, members []kmsg.JoinGroupResponseMember) bool {
	request := kmsg.NewPtrSyncGroupRequest()
	request.Group, request.MemberID, request.Generation = group, m.id, m.generation
	for _, other := range members {
		assignment := kmsg.NewSyncGroupRequestGroupAssignment()
		assignment.MemberID, assignment.MemberAssignment = other.MemberID, make([]byte, 100)
		request.GroupAssignment = append(request.GroupAssignment, assignment)
	}
	err := kerr.ErrorForCode(m.ask(request, 3).(*kmsg.SyncGroupResponse).ErrorCode)
	if err == kerr.RebalanceInProgress {
		return false
	}
	fail(err)
	return true
}

func (m *member) heartbeat(group string) error {
	request := kmsg.NewPtrHeartbeatRequest()
	request.Group, request.MemberID, request.Generation = group, m.id, m.generation
	return kerr.ErrorForCode(m.ask(request, 3).(*kmsg.HeartbeatResponse).ErrorCode)
}

func (m *member) commit(group, topic string) {
	request := kmsg.NewPtrOffsetCommitRequest()
	request.Group, request.MemberID, request.Generation = group, m.id, m.generation
	partition := kmsg.NewOffsetCommitRequestTopicPartition()
	of := kmsg.NewOffsetCommitRequestTopic()
	of.Topic, of.Partitions = topic, append(of.Partitions, partition)
	request.Topics = append(request.Topics, of)
	answer := m.ask(request, 7).(*kmsg.OffsetCommitResponse)
	fail(kerr.ErrorForCode(answer.Topics[0].Partitions[0].ErrorCode))
}

// coordinator makes the topic of positions and waits for the group's part of it.
func coordinator(m *member, group string) {
	for {
		request := kmsg.NewPtrFindCoordinatorRequest()
		request.CoordinatorKey = group
		if m.ask(request, 2).(*kmsg.FindCoordinatorResponse).ErrorCode == 0 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func all(members []*member, do func(*member)) {
	var done sync.WaitGroup
	for _, m := range members {
		done.Add(1)
		go func() {
			do(m)
			done.Done()
		}()
	}
	done.Wait()
}

// settle has everybody in one generation. Whoever is in before the others come has to come back for them.
func settle(everybody []*member) {
	var in atomic.Int64
	all(everybody, func(m *member) {
		m.join(*group)
		in.Add(1)
		for {
			switch err := m.heartbeat(*group); err {
			case nil:
				if in.Load() == int64(len(everybody)) {
					return
				}
				time.Sleep(10 * time.Millisecond)
			case kerr.RebalanceInProgress:
				m.join(*group)
			default:
				fail(err)
			}
		}
	})
}

func memoryMiB() float64 {
	if *pid == 0 {
		return 0
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", *pid))
	fail(err)
	var size, resident int
	_, err = fmt.Sscan(string(status), &size, &resident)
	fail(err)
	return float64(resident*os.Getpagesize()) / (1 << 20)
}

// members is one group of --count: rebalances of all of them, from the first one's coming back to the last one's share, and
// rounds of heartbeats. Every member joins at once, as after a heartbeat that says so.
func members() {
	before := memoryMiB()
	var everybody []*member
	for range *count {
		everybody = append(everybody, newMember())
	}
	coordinator(everybody[0], *group)
	settle(everybody)
	var times, cpus []float64
	for range 5 {
		cpu, start := brokerCPU(), time.Now()
		all(everybody, func(m *member) {
			m.round++
			m.join(*group)
		})
		times, cpus = append(times, time.Since(start).Seconds()), append(cpus, brokerCPU()-cpu)
	}
	generation := everybody[0].generation
	for _, m := range everybody {
		if m.generation != generation {
			fail(fmt.Errorf("generations %d and %d in one group", m.generation, generation))
		}
	}
	beats := brokerCPU()
	for range 10 {
		all(everybody, func(m *member) { fail(m.heartbeat(*group)) })
	}
	print(map[string]float64{
		"seconds": median(times), "broker_cpu_seconds": median(cpus),
		"heartbeat_cpu_us": (brokerCPU() - beats) * 1e6 / float64(10**count), "memory_mib": memoryMiB(), "grown_mib": memoryMiB() - before,
	})
}

// groups are --count groups of one member each, made by 50 connections: two joins, a sync and a commit for each.
func groups() {
	before := memoryMiB()
	const connections = 50
	first := newMember()
	coordinator(first, *group)
	cpu, start := brokerCPU(), time.Now()
	var done sync.WaitGroup
	for n := range connections {
		done.Add(1)
		go func() {
			defer done.Done()
			m := newMember()
			for i := n; i < *count; i += connections {
				name := fmt.Sprintf("%s-%d", *group, i)
				m.id = ""
				m.join(name)
				m.commit(name, *topic)
			}
		}()
	}
	done.Wait()
	print(map[string]float64{
		"seconds": time.Since(start).Seconds(), "broker_cpu_seconds": brokerCPU() - cpu,
		"memory_mib": memoryMiB(), "grown_mib": memoryMiB() - before,
	})
}

func median(of []float64) float64 {
	sort.Float64s(of)
	return of[len(of)/2]
}

func print(figures map[string]float64) {
	fail(json.NewEncoder(os.Stdout).Encode(figures))
}
