/* SPDX-License-Identifier: MIT */
/*
 * Cases after the web platform tests' eventsource/format-* (BSD-3-Clause), with the line ends that their server adds.
 * Byte order marks, comments, data, empty types and the unfinished event are their inputs; those for ids,
 * field parsing, line ends, leading blanks, unknown fields, retry and UTF-8 are our equivalents. An event
 * is written as type, data and id, each behind a '|'.
 */
/* clang-format off */
CASE("\357\273\277data:1\n\n\357\273\277data:2\n\ndata:3\n\n", "|message|1|\n|message|3|\n")
CASE("\357\273\277\357\273\277data:1\n\ndata:2\n\ndata:3\n\n", "|message|2|\n|message|3|\n")
CASE("data:1\r:\000\n:\r\ndata:2\n:xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\rdata:3\n:data:fail\r:xxxxxxxxxxxxxxxxxxxx\ndata:4\n\n", "|message|1\n2\n3\n4|\n")
CASE("retry:1000\ndata:test1\n\nid:test\ndata:test2", "|message|test1|\n")
CASE("data:\n\ndata\ndata\n\ndata:test\n\n", "|message||\n|message|\n|\n|message|test|\n")
CASE("event: \ndata:data\n\n", "|message|data|\n")
CASE("event:test\ndata:x\n\ndata:x\n\n", "|test|x|\n|message|x|\n")
CASE("data:\000\ndata:  2\rData:1\ndata\000:2\ndata:1\r\000data:4\nda-ta:3\rdata_5\ndata:3\rdata:\r\n data:32\ndata:4\n\n", "|message|\000\n 2\n1\n3\n\n4|\n")
CASE("data:test\n data\ndata\nfoobar:xxx\njustsometext\n:thisisacommentyay\ndata:test\n\n", "|message|test\n\ntest|\n")
CASE("data:\ttest\rdata: \ndata:test\n\n", "|message|\ttest\n\ntest|\n")
CASE("data:test\r\ndata\ndata:test\r\n\r", "|message|test\n\ntest|\n")
CASE("data:\000\n\n\n\n", "|message|\000|\n")
CASE("id: 1\ndata:hello\n\ndata:two\n\n", "|message|hello|1\n|message|two|1\n")
CASE("id: 1\ndata:1\n\nid: 2\ndata:2\n\ndata:3\n\n", "|message|1|1\n|message|2|2\n|message|3|2\n")
CASE("id: 1\ndata:1\n\nid:\ndata:2\n\nid\ndata:3\n\n", "|message|1|1\n|message|2|\n|message|3|\n")
CASE("id: \342\200\246\ndata:hello\n\n", "|message|hello|\342\200\246\n")
CASE("id: \000\000\ndata:hello\n\nid: a\000\ndata:x\n\n", "|message|hello|\n|message|x|\n")
CASE("retry:03000\ndata:x\n\n", "|message|x|\n")
CASE("retry:3000\nretry:1000x\ndata:x\n\n", "|message|x|\n")
CASE("retry\ndata:test\n\n", "|message|test|\n")
CASE("data:ok\342\200\246\n\n", "|message|ok\342\200\246|\n")
/* clang-format on */
