// The machine's limit for benches/compare: the least that any broker must do with a gigabyte, on one thread and nothing
// else beside it. One JSON line a case, CPU seconds (user and system) per GB of payload, the best of the rounds:
//
//   produce          recv, CRC-32C, write to a file, 1 MiB at a time
//   consume          read from that file, send, 256 KiB at a time
//   produce-tls      the same with every 16 KiB record of TLS opened by AES-256-GCM before its CRC
//   consume-tls      the same with every 16 KiB sealed by AES-256-GCM before it is sent
//
// The peer is a process of its own whose time is not counted. No framing, no Kafka, no acknowledgement.
//
//   cc -O2 -msse4.2 limit.c -l:libcrypto.so.3 && ./a.out FILE [MB-A-ROUND [ROUNDS]]
//
// (-march=armv8-a+crc in place of -msse4.2 on aarch64; libcrypto is OpenSSL's run-time library, its headers are not needed.)
#include <fcntl.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __aarch64__
#include <arm_acle.h>
#define CRC8(crc, word) __crc32cd(crc, word)
#else
#include <nmmintrin.h>
#define CRC8(crc, word) _mm_crc32_u64(crc, word)
#endif

// What is needed of OpenSSL 3.
typedef struct evp_cipher_ctx_st Cipher;
Cipher *EVP_CIPHER_CTX_new(void);
const void *EVP_aes_256_gcm(void);
int EVP_CipherInit_ex(Cipher *, const void *cipher, void *engine, const uint8_t *key, const uint8_t *nonce, int seal);
int EVP_CipherUpdate(Cipher *, uint8_t *out, int *out_length, const uint8_t *in, int length);
int EVP_CipherFinal_ex(Cipher *, uint8_t *out, int *out_length);
int EVP_CIPHER_CTX_ctrl(Cipher *, int what, int length, void *tag);
enum { GET_TAG = 0x10, SET_TAG = 0x11 };

enum { BATCH = 1 << 20, PIECE = 256 << 10, PLAIN = 16 << 10, HEAD = 5, TAG = 16, RECORD = HEAD + PLAIN + 1 + TAG };
enum { RECORDS = PIECE / PLAIN }; // TLS records in a piece

static uint8_t batch[BATCH], wire[RECORDS * RECORD], plain[PLAIN + 1];
static uint8_t key[32], nonce[12];
static volatile uint64_t kept; // so that no CRC is optimised away

static void must(int ok, const char *what) {
    if (!ok) perror(what), exit(1);
}

static double cpu_seconds(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

// Three streams at a time, as the instruction's latency wants it; joining them costs next to nothing and is left out.
static void crc(const uint8_t *bytes, size_t length) {
    const uint64_t *words = (const uint64_t *)bytes;
    size_t third = length / 24;
    uint64_t a = ~0u, b = 0, c = 0;
    for (size_t i = 0; i < third; i++) {
        a = CRC8(a, words[i]);
        b = CRC8(b, words[third + i]);
        c = CRC8(c, words[2 * third + i]);
    }
    kept += a ^ b ^ c;
}

static void seal(Cipher *cipher, const uint8_t *from, uint8_t *record) {
    int n;
    uint8_t type = 23;
    memcpy(record, "\x17\x03\x03\x40\x11", HEAD);
    EVP_CipherInit_ex(cipher, NULL, NULL, NULL, nonce, 1);
    EVP_CipherUpdate(cipher, NULL, &n, record, HEAD);
    EVP_CipherUpdate(cipher, record + HEAD, &n, from, PLAIN);
    EVP_CipherUpdate(cipher, record + HEAD + PLAIN, &n, &type, 1);
    must(EVP_CipherFinal_ex(cipher, record + RECORD - TAG, &n), "seal");
    EVP_CIPHER_CTX_ctrl(cipher, GET_TAG, TAG, record + RECORD - TAG);
}

static void unseal(Cipher *cipher, uint8_t *record, uint8_t *to) {
    int n;
    EVP_CipherInit_ex(cipher, NULL, NULL, NULL, nonce, 0);
    EVP_CIPHER_CTX_ctrl(cipher, SET_TAG, TAG, record + RECORD - TAG);
    EVP_CipherUpdate(cipher, NULL, &n, record, HEAD);
    EVP_CipherUpdate(cipher, to, &n, record + HEAD, PLAIN);
    EVP_CipherUpdate(cipher, plain, &n, record + HEAD + PLAIN, 1);
    must(EVP_CipherFinal_ex(cipher, plain, &n), "open");
}

static Cipher *new_cipher(int sealing) {
    Cipher *cipher = EVP_CIPHER_CTX_new();
    must(EVP_CipherInit_ex(cipher, EVP_aes_256_gcm(), NULL, key, nonce, sealing), "AES-256-GCM");
    return cipher;
}

static void send_all(int to, const uint8_t *bytes, size_t length) {
    while (length > 0) {
        ssize_t sent = send(to, bytes, length, 0);
        must(sent > 0, "send");
        bytes += sent, length -= sent;
    }
}

static int receive_all(int from, uint8_t *into, size_t length) {
    for (size_t have = 0; have < length;) {
        ssize_t got = recv(from, into + have, length - have, 0);
        if (got <= 0) return 0;
        have += got;
    }
    return 1;
}

static void connected(int *ours, int *theirs) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    must(!bind(listener, (void *)&at, length) && !listen(listener, 1), "listen");
    must(!getsockname(listener, (void *)&at, &length), "getsockname");
    *theirs = socket(AF_INET, SOCK_STREAM, 0);
    must(!connect(*theirs, (void *)&at, length), "connect");
    must((*ours = accept(listener, NULL, NULL)) >= 0, "accept");
    close(listener);
}

// The other end: sends `pieces` of what `wire` or `batch` holds, or reads until there is no more.
static void peer(int with, int produces, int tls, size_t pieces) {
    if (produces)
        for (size_t i = 0; i < pieces; i++) tls ? send_all(with, wire, sizeof wire) : send_all(with, batch, PIECE);
    else
        while (recv(with, batch, sizeof batch, 0) > 0);
    _exit(0);
}

static void produce(int from, int file, int tls, Cipher *cipher) {
    for (;;) {
        if (tls) {
            for (size_t at = 0; at < BATCH; at += PIECE) {
                if (!receive_all(from, wire, sizeof wire)) return;
                for (int i = 0; i < RECORDS; i++) unseal(cipher, wire + i * RECORD, batch + at + i * PLAIN);
            }
        } else if (!receive_all(from, batch, BATCH)) {
            return;
        }
        crc(batch, BATCH);
        must(write(file, batch, BATCH) == BATCH, "write");
    }
}

static void consume(int to, int file, int tls, Cipher *cipher) {
    while (read(file, batch, PIECE) == PIECE) {
        if (tls)
            for (int i = 0; i < RECORDS; i++) seal(cipher, batch + i * PLAIN, wire + i * RECORD);
        tls ? send_all(to, wire, sizeof wire) : send_all(to, batch, PIECE);
    }
}

// One round: CPU seconds per GB of payload.
static double measure(const char *path, int produces, int tls, size_t batches) {
    int ours, theirs, file = open(path, produces ? O_CREAT | O_TRUNC | O_WRONLY : O_RDONLY, 0600);
    must(file >= 0, path);
    Cipher *cipher = new_cipher(!produces), *other = new_cipher(1);
    for (int i = 0; i < RECORDS; i++) seal(other, batch, wire + i * RECORD);
    connected(&ours, &theirs);
    pid_t child = fork();
    must(child >= 0, "fork");
    if (child == 0) close(ours), peer(theirs, produces, tls, batches * (BATCH / PIECE));
    close(theirs);
    double before = cpu_seconds();
    produces ? produce(ours, file, tls, cipher) : consume(ours, file, tls, cipher);
    double spent = cpu_seconds() - before;
    close(ours), close(file);
    waitpid(child, NULL, 0);
    return spent / (batches * (double)BATCH / 1e9);
}

int main(int argc, char **argv) {
    static const char *names[] = {"produce", "consume", "produce-tls", "consume-tls"};
    if (argc < 2) return fprintf(stderr, "limit FILE [MB-A-ROUND [ROUNDS]]\n"), 2;
    size_t batches = argc > 2 ? strtoul(argv[2], NULL, 10) : 256;
    int rounds = argc > 3 ? atoi(argv[3]) : 4;
    for (int mode = 0; mode < 4; mode++) {
        double best = 1e9;
        for (int round = 0; round < rounds; round++) {
            double spent = measure(argv[1], mode % 2 == 0, mode >= 2, batches);
            if (spent < best) best = spent;
        }
        printf("{\"case\":\"%s\",\"cpu_s_per_gb\":%.4f}\n", names[mode], best);
    }
    return unlink(argv[1]);
}
