#include "live.h"
const struct live_test network_tests[] = {{}};
