package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
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
	answers    *bufio.Reader
	format     *kmsg.RequestFormatter
	buffer     []byte
	id         string
	generation int32
	round      byte
}

func newMember() *member {
	conn, err := net.Dial("tcp", *bootstrap)
	fail(err)
	format := kmsg.NewRequestFormatter(kmsg.FormatterClientID("load"))
	return &member{conn: conn, answers: bufio.NewReader(conn), format: format}
}

// send sends a request of a version without tagged fields.
func (m *member) send(request kmsg.Request, version int16) {
	request.SetVersion(version)
	m.buffer = m.format.AppendRequest(m.buffer[:0], request, 1)
	_, err := m.conn.Write(m.buffer)
	fail(err)
}

// receive waits for the answer to the last request.
func (m *member) receive(response kmsg.Response, version int16) {
	var length [4]byte
	_, err := io.ReadFull(m.answers, length[:])
	fail(err)
	frame := make([]byte, binary.BigEndian.Uint32(length[:]))
	_, err = io.ReadFull(m.answers, frame)
	fail(err)
	response.SetVersion(version)
	fail(response.ReadFrom(frame[4:]))
}

const joinVersion, syncVersion, heartbeatVersion, commitVersion = 5, 3, 3, 7

func (m *member) sendJoin(group string) {
	request := kmsg.NewPtrJoinGroupRequest()
	request.Group, request.MemberID, request.ProtocolType = group, m.id, "consumer"
	request.SessionTimeoutMillis, request.RebalanceTimeoutMillis = 600_000, 60_000
	protocol := kmsg.NewJoinGroupRequestProtocol()
	// Metadata that changes calls for a new generation, as a leader's coming back does.
	subscription := kmsg.NewConsumerMemberMetadata()
	subscription.Topics, subscription.UserData = []string{*topic}, bytes.Repeat([]byte{m.round}, 80)
	protocol.Name, protocol.Metadata = "range", subscription.AppendTo(nil)
	request.Protocols = append(request.Protocols, protocol)
	m.send(request, joinVersion)
}

// joined tells whom the member has to give shares to, and what it was refused for.
func (m *member) joined() ([]kmsg.JoinGroupResponseMember, error) {
	var answer kmsg.JoinGroupResponse
	m.receive(&answer, joinVersion)
	m.id, m.generation = answer.MemberID, answer.Generation
	return answer.Members, kerr.ErrorForCode(answer.ErrorCode)
}

func (m *member) sendSync(group string, members []kmsg.JoinGroupResponseMember) {
	request := kmsg.NewPtrSyncGroupRequest()
	request.Group, request.MemberID, request.Generation = group, m.id, m.generation
	for _, other := range members {
		assignment := kmsg.NewSyncGroupRequestGroupAssignment()
		assignment.MemberID, assignment.MemberAssignment = other.MemberID, make([]byte, 100)
		request.GroupAssignment = append(request.GroupAssignment, assignment)
	}
	m.send(request, syncVersion)
}

func (m *member) synced() error {
	var answer kmsg.SyncGroupResponse
	m.receive(&answer, syncVersion)
	return kerr.ErrorForCode(answer.ErrorCode)
}

// join goes on until the member has its share.
func (m *member) join(group string) {
	for {
		m.sendJoin(group)
		members, err := m.joined()
		switch err {
		case nil:
			m.sendSync(group, members)
			err := m.synced()
			if err == nil {
				return
			}
			if err != kerr.RebalanceInProgress {
				fail(err)
			}
		case kerr.MemberIDRequired:
		case kerr.CoordinatorLoadInProgress, kerr.CoordinatorNotAvailable, kerr.NotCoordinator:
			time.Sleep(100 * time.Millisecond)
		default:
			fail(err)
		}
	}
}

func (m *member) sendHeartbeat(group string) {
	request := kmsg.NewPtrHeartbeatRequest()
	request.Group, request.MemberID, request.Generation = group, m.id, m.generation
	m.send(request, heartbeatVersion)
}

func (m *member) beaten() error {
	var answer kmsg.HeartbeatResponse
	m.receive(&answer, heartbeatVersion)
	return kerr.ErrorForCode(answer.ErrorCode)
}

func (m *member) sendCommit(group, topic string) {
	request := kmsg.NewPtrOffsetCommitRequest()
	request.Group, request.MemberID, request.Generation = group, m.id, m.generation
	partition := kmsg.NewOffsetCommitRequestTopicPartition()
	of := kmsg.NewOffsetCommitRequestTopic()
	of.Topic, of.Partitions = topic, append(of.Partitions, partition)
	request.Topics = append(request.Topics, of)
	m.send(request, commitVersion)
}

func (m *member) committed() error {
	var answer kmsg.OffsetCommitResponse
	m.receive(&answer, commitVersion)
	return kerr.ErrorForCode(answer.Topics[0].Partitions[0].ErrorCode)
}

// coordinator makes the topic of positions and waits for the group's part of it.
func coordinator(m *member, group string) {
	for {
		request := kmsg.NewPtrFindCoordinatorRequest()
		request.CoordinatorKey = group
		m.send(request, 2)
		var answer kmsg.FindCoordinatorResponse
		m.receive(&answer, 2)
		if answer.ErrorCode == 0 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// round has everybody's request sent before anybody's answer is looked at, by one hand a core: more of them cost more than
// the requests do, and the time is to be the broker's.
func round(members []*member, ask func(*member), answered func(*member)) {
	var done sync.WaitGroup
	hands := runtime.NumCPU()
	for some := range slices.Chunk(members, (len(members)+hands-1)/hands) {
		done.Add(1)
		go func() {
			defer done.Done()
			for _, m := range some {
				ask(m)
			}
			for _, m := range some {
				answered(m)
			}
		}()
	}
	done.Wait()
}

// settle has everybody in one generation. Whoever is in before the others come has to come back for them.
func settle(everybody []*member) {
	var in atomic.Int64
	var done sync.WaitGroup
	alone := func(m *member) {
		defer done.Done()
		m.join(*group)
		in.Add(1)
		for {
			m.sendHeartbeat(*group)
			switch err := m.beaten(); err {
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
	}
	for _, m := range everybody {
		done.Add(1)
		go alone(m)
	}
	done.Wait()
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
// rounds of heartbeats. All join at once, as after a heartbeat that says so.
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
		join := func(m *member) {
			m.round++
			m.sendJoin(*group)
		}
		round(everybody, join, func(m *member) {
			members, err := m.joined()
			fail(err)
			m.sendSync(*group, members)
		})
		round(everybody, func(*member) {}, func(m *member) { fail(m.synced()) })
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
		round(everybody, func(m *member) { m.sendHeartbeat(*group) }, func(m *member) { fail(m.beaten()) })
	}
	print(map[string]float64{
		"seconds": median(times), "broker_cpu_seconds": median(cpus),
		"heartbeat_cpu_us": (brokerCPU() - beats) * 1e6 / float64(10**count), "memory_mib": memoryMiB(), "grown_mib": memoryMiB() - before,
	})
}

// groups are --count groups of one member each, over 50 connections: two joins, a sync and a commit for each.
func groups() {
	before := memoryMiB()
	var everybody []*member
	for range 50 {
		everybody = append(everybody, newMember())
	}
	coordinator(everybody[0], *group)
	warm := *everybody[0]
	warm.join(*group) // waits until the coordinator has read its part
	cpu, start := brokerCPU(), time.Now()
	for made := 0; made < *count; made += len(everybody) {
		names := map[*member]string{}
		for i, m := range everybody {
			m.id, names[m] = "", fmt.Sprintf("%s-%d", *group, made+i)
		}
		join := func(m *member) { m.sendJoin(names[m]) }
		round(everybody, join, func(m *member) {
			if _, err := m.joined(); err != kerr.MemberIDRequired {
				fail(err)
			}
		})
		round(everybody, join, func(m *member) {
			members, err := m.joined()
			fail(err)
			m.sendSync(names[m], members)
		})
		round(everybody, func(*member) {}, func(m *member) {
			fail(m.synced())
			m.sendCommit(names[m], *topic)
		})
		round(everybody, func(*member) {}, func(m *member) { fail(m.committed()) })
	}
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
