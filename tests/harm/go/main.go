// SPDX-License-Identifier: MIT

// go N: N goroutines talk TLS from deep within their stacks, which grow and move meanwhile, while garbage is collected.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync"
)

func certificate() tls.Certificate {
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	template := x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// Each level has a frame of a kilobyte: the stack is copied every few of them.
func deep(level int, talk func() byte) byte {
	var frame [1024]byte
	if level == 0 {
		return talk()
	}
	frame[level%1024] = deep(level-1, talk) + byte(level)
	return frame[level%1024]
}

func client(address string, n int) [32]byte {
	c, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		panic(err)
	}
	sum := sha256.New()
	for i := 0; i < 20; i++ {
		sent := make([]byte, 1000*(i+1))
		for k := range sent {
			sent[k] = byte(k * (n + i))
		}
		deep(i*10, func() byte {
			c.Write(sent)
			got := make([]byte, len(sent))
			deep(20, func() byte {
				if _, err := io.ReadFull(c, got); err != nil {
					panic(err)
				}
				return 1
			})
			sum.Write(got)
			return got[0]
		})
	}
	c.Close()
	return *(*[32]byte)(sum.Sum(nil))
}

func main() {
	n, _ := strconv.Atoi(os.Args[1])
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate()}})
	if err != nil {
		panic(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func(c net.Conn) { io.Copy(c, c) }(c)
		}
	}()
	stop := make(chan bool)
	go func() {
		for {
			select {
			case <-stop:
				return
			default:
				runtime.GC()
			}
		}
	}()
	sums := make([][32]byte, n)
	var all sync.WaitGroup
	for i := range sums {
		all.Add(1)
		go func(i int) {
			defer all.Done()
			sums[i] = client(l.Addr().String(), i)
		}(i)
	}
	all.Wait()
	close(stop)
	for _, s := range sums {
		fmt.Printf("%x\n", s)
	}
}
