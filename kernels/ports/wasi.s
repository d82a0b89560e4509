# What Rust's standard library asks of WASI and Debian's C library for it lacks: the tag that exceptions carry, and
# threads, of which there are none (3 is ESRCH).
        .tagtype        __cpp_exception i32
        .globl          __cpp_exception
__cpp_exception:

        .globl          pthread_join
        .type           pthread_join,@function
pthread_join:
        .functype       pthread_join (i32, i32) -> (i32)
        i32.const       3
        end_function

        .globl          pthread_detach
        .type           pthread_detach,@function
pthread_detach:
        .functype       pthread_detach (i32) -> (i32)
        i32.const       3
        end_function

# (58 is ENOTSUP.)
        .globl          pthread_create
        .type           pthread_create,@function
pthread_create:
        .functype       pthread_create (i32, i32, i32, i32) -> (i32)
        i32.const       58
        end_function

        .globl          pthread_attr_init
        .type           pthread_attr_init,@function
pthread_attr_init:
        .functype       pthread_attr_init (i32) -> (i32)
        i32.const       0
        end_function

        .globl          pthread_attr_destroy
        .type           pthread_attr_destroy,@function
pthread_attr_destroy:
        .functype       pthread_attr_destroy (i32) -> (i32)
        i32.const       0
        end_function

        .globl          pthread_attr_setstacksize
        .type           pthread_attr_setstacksize,@function
pthread_attr_setstacksize:
        .functype       pthread_attr_setstacksize (i32, i32) -> (i32)
        i32.const       0
        end_function

# No path can be resolved (the answer is a null pointer).
        .globl          realpath
        .type           realpath,@function
realpath:
        .functype       realpath (i32, i32) -> (i32)
        i32.const       0
        end_function

# A library has no main, but the C library's start-up code names one.
        .weak           main
        .type           main,@function
main:
        .functype       main (i32, i32) -> (i32)
        i32.const       0
        end_function
