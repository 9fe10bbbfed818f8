// SPDX-License-Identifier: MIT
// client PORT: a request through the system's OpenSSL, as crates do it that link it; threads, and a panic that is caught.
use std::ffi::{c_char, c_int, c_void};
use std::net::TcpStream;
use std::os::fd::AsRawFd;

#[link(name = "ssl")]
extern "C" {
    fn TLS_client_method() -> *const c_void;
    fn SSL_CTX_new(method: *const c_void) -> *mut c_void;
    fn SSL_new(ctx: *mut c_void) -> *mut c_void;
    fn SSL_set_fd(ssl: *mut c_void, fd: c_int) -> c_int;
    fn SSL_connect(ssl: *mut c_void) -> c_int;
    fn SSL_write(ssl: *mut c_void, buf: *const c_char, num: c_int) -> c_int;
    fn SSL_read(ssl: *mut c_void, buf: *mut c_char, num: c_int) -> c_int;
}

fn ask(port: u16) -> u64 {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let request = b"GET /bytes/100000 HTTP/1.1\r\nConnection: close\r\n\r\n";
    let mut buf = [0u8; 7000];
    let mut sum = 14695981039346656037u64;
    unsafe {
        let ssl = SSL_new(SSL_CTX_new(TLS_client_method()));
        SSL_set_fd(ssl, stream.as_raw_fd());
        assert_eq!(SSL_connect(ssl), 1);
        assert_eq!(SSL_write(ssl, request.as_ptr().cast(), request.len() as c_int), request.len() as c_int);
        loop {
            let n = SSL_read(ssl, buf.as_mut_ptr().cast(), buf.len() as c_int);
            if n <= 0 {
                return sum;
            }
            for b in &buf[..n as usize] {
                sum = (sum ^ *b as u64).wrapping_mul(1099511628211);
            }
        }
    }
}

fn main() {
    let port: u16 = std::env::args().nth(1).unwrap().parse().unwrap();
    std::panic::set_hook(Box::new(|_| {}));
    let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(move || ask(port))).collect();
    for t in threads {
        println!("{:x}", t.join().unwrap());
    }
    let caught = std::panic::catch_unwind(move || {
        ask(port);
        panic!("after a call");
    });
    println!("{}", caught.is_err());
}
