#include "live.h"
const struct live_test tls_tests[] = {{}};
