#include "live.h"
const struct live_test file_tests[] = {{}};
