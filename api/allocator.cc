// Settings of jemalloc for the server. glibc's malloc keeps up to eight arenas a core, each at the
// size it once had: under two writers and two readers the heap grew from 30 to 160 MiB within
// minutes while no more than 25 MiB of it were in use. mimalloc and tcmalloc stayed flat as well,
// but higher than jemalloc with these settings.
//
//   narenas         as many threads as are busy at once contend for few arenas, and what one thread
//                   has freed is there for the next
//   *_decay_ms      freed pages go back to the kernel within a second: the limit is on what the
//                   kernel counts
//   tcache_max      a thread's own cache holds small pieces only: hundreds of handler threads keep
//                   theirs while they idle
//   background_thread  pages also go back while no thread allocates
extern "C" {
extern const char* malloc_conf;
const char* malloc_conf =
    "narenas:4,dirty_decay_ms:1000,muzzy_decay_ms:0,tcache_max:8192,background_thread:true";
}
