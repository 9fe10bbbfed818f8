// SPDX-License-Identifier: MIT

// go_tls CONNECTIONS ROUNDS [--wait | --in-turns | --http]: clients and a server in one program, over crypto/tls on the
// loopback. Says for each side of each connection and each direction how much went through, with its SHA-256. What is
// sent in one call grows from a byte to more than a record; replies come late, so that goroutines change threads. With
// --wait it begins when standard input ends. With --in-turns one connection follows the other, half of them wrapped, in
// memory that the garbage collector hands out again; each call names the connection's port. With --http it says nothing:
// clients post numbers one after another, each on a connection of its own, and a server in a process of its own tells
// them again.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
)

type told struct {
	Direction string `json:"direction"`
	Bytes     int    `json:"bytes"`
	Calls     int    `json:"calls"`
	Sha256    string `json:"sha256"`
}

var printing sync.Mutex

// One direction of one side.
type sum struct {
	hash  hash.Hash
	bytes int
	calls int
}

func (s *sum) add(b []byte) {
	if len(b) > 0 {
		s.hash.Write(b)
		s.bytes += len(b)
		s.calls++
	}
}

func (s *sum) tell(direction string) {
	printing.Lock()
	defer printing.Unlock()
	json.NewEncoder(os.Stdout).Encode(told{direction, s.bytes, s.calls,
		hex.EncodeToString(s.hash.Sum(nil))})
}

type side struct {
	conn        *tls.Conn
	read, write sum
}

func newSide(conn *tls.Conn) *side {
	return &side{conn, sum{hash: sha256.New()}, sum{hash: sha256.New()}}
}

func (s *side) send(b []byte) error {
	n, err := s.conn.Write(b)
	s.write.add(b[:n])
	return err
}

// Reads into a buffer on the stack first, which moves.
func (s *side) receive(n int) ([]byte, error) {
	var small [64]byte
	var all []byte
	for len(all) < n {
		into := small[:]
		if n-len(all) > len(small) {
			into = make([]byte, n-len(all))
		} else {
			into = into[:n-len(all)]
		}
		k, err := s.conn.Read(into)
		s.read.add(into[:k])
		all = append(all, into[:k]...)
		if err != nil {
			return all, err
		}
	}
	return all, nil
}

func (s *side) done() {
	s.conn.Close()
	s.read.tell("read")
	s.write.tell("write")
}

func grow(depth int) int {
	var room [512]byte
	if depth == 0 {
		return int(room[0])
	}
	return grow(depth-1) + int(room[depth%512])
}

func serve(conn net.Conn) {
	s := newSide(conn.(*tls.Conn))
	defer s.done()
	for {
		head, err := s.receive(4)
		if err != nil {
			return
		}
		body, err := s.receive(int(binary.BigEndian.Uint32(head)))
		if err != nil {
			return
		}
		time.Sleep(time.Millisecond)
		for i := range body {
			body[i] ^= 0x55
		}
		if s.send(body) != nil {
			return
		}
	}
}

func client(address string, rounds, k int) {
	conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
	check(err)
	s := newSide(conn)
	defer s.done()
	for i := 0; i < rounds; i++ {
		n := 1 + (i*i*37+k*11)%40000
		b := make([]byte, 4+n)
		rand.Read(b[4:])
		binary.BigEndian.PutUint32(b, uint32(n))
		check(s.send(b))
		_, err = s.receive(n)
		check(err)
		grow(k % 64)
	}
}

type wrapped struct {
	net.Conn
}

func inTurns(address string, connections int) {
	var kept []net.Conn // each in a place of its own
	for i := 0; i < connections; i++ {
		tcp, err := net.Dial("tcp", address)
		check(err)
		text := []byte(fmt.Sprint("port ", tcp.LocalAddr().(*net.TCPAddr).Port))
		if i%2 == 1 {
			tcp = &wrapped{tcp}
			kept = append(kept, tcp)
		}
		conn := tls.Client(tcp, &tls.Config{InsecureSkipVerify: true})
		_, err = conn.Write(text)
		check(err)
		_, err = io.ReadFull(conn, text)
		check(err)
		conn.Close()
		runtime.GC()
	}
	runtime.KeepAlive(kept)
}

func echo(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		check(err)
		go func() { defer conn.Close(); io.Copy(conn, conn) }()
	}
}

func tellPath(w http.ResponseWriter, r *http.Request) {
	_, _ = io.ReadAll(r.Body)
	fmt.Fprint(w, r.URL.Path)
}

// Until standard input ends.
func serveHTTP(listener net.Listener) {
	go func() { check(http.Serve(listener, http.HandlerFunc(tellPath))) }()
	fmt.Println(listener.Addr())
	_, _ = io.ReadAll(os.Stdin)
}

// It runs as long as this pipe is open.
var serverInput io.Closer

func startServer() string {
	server := exec.Command(os.Args[0], "0", "0", "--serve")
	var err error
	serverInput, err = server.StdinPipe()
	check(err)
	out, err := server.StdoutPipe()
	check(err)
	check(server.Start())
	var address string
	_, err = fmt.Fscan(out, &address)
	check(err)
	return address
}

// A goroutine of the transport writes, another one reads.
func post(address string, rounds int) {
	config := &tls.Config{InsecureSkipVerify: true}
	client := http.Client{Transport: &http.Transport{TLSClientConfig: config}}
	for i := 0; i < rounds; i++ {
		reply, err := client.Post(fmt.Sprintf("https://%s/%d", address, i), "text/plain",
			strings.NewReader("hello"))
		check(err)
		_, err = io.ReadAll(reply.Body)
		check(err)
		reply.Body.Close()
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func certificate() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	template := x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	check(err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func main() {
	connections, _ := strconv.Atoi(os.Args[1])
	rounds, _ := strconv.Atoi(os.Args[2])
	option := ""
	if len(os.Args) > 3 {
		option = os.Args[3]
	}
	if option == "--wait" {
		_, _ = io.ReadAll(os.Stdin)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0",
		&tls.Config{Certificates: []tls.Certificate{certificate()}})
	check(err)
	if option == "--in-turns" {
		go echo(listener)
		inTurns(listener.Addr().String(), connections)
		return
	}
	if option == "--serve" {
		serveHTTP(listener)
		return
	}
	var all sync.WaitGroup
	if option == "--http" {
		address := startServer()
		all.Add(connections)
		for k := 0; k < connections; k++ {
			go func() { defer all.Done(); post(address, rounds) }()
		}
		all.Wait()
		return
	}
	all.Add(2 * connections)
	go func() {
		for {
			conn, err := listener.Accept()
			check(err)
			go func() { defer all.Done(); serve(conn) }()
		}
	}()
	for k := 0; k < connections; k++ {
		go func(k int) { defer all.Done(); client(listener.Addr().String(), rounds, k) }(k)
	}
	all.Wait()
}
