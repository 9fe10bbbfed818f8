#include "live.h"
const struct live_test system_tests[] = {{}};
