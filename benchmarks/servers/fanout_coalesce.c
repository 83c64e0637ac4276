/* fanout.c, but what came in one turn of the loop leaves in one send(2) per subscriber. */
#define COALESCE
#include "fanout.c"
