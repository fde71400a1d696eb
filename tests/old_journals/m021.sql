-- A journal of 4faf9b8, killed while it ran; made by make.py.
BEGIN TRANSACTION;
CREATE TABLE "_sqlite_migrations" (
   "id" INTEGER PRIMARY KEY,
   "migration_set" TEXT,
   "name" TEXT,
   "applied_at" TEXT
);
INSERT INTO "_sqlite_migrations" VALUES(1,'journal','m001_events_and_deliveries','2026-12-01 10:43:16.873847+00:00');
INSERT INTO "_sqlite_migrations" VALUES(2,'journal','m002_order_replays_and_pauses','2026-12-01 10:43:16.886368+00:00');
INSERT INTO "_sqlite_migrations" VALUES(3,'journal','m003_events_in_order_of_time','2026-12-01 10:43:16.892008+00:00');
INSERT INTO "_sqlite_migrations" VALUES(4,'journal','m004_twins','2026-12-01 10:43:16.895438+00:00');
INSERT INTO "_sqlite_migrations" VALUES(5,'journal','m005_orders','2026-12-01 10:43:16.906129+00:00');
INSERT INTO "_sqlite_migrations" VALUES(6,'journal','m006_orders_of_providers','2026-12-01 10:43:16.915061+00:00');
INSERT INTO "_sqlite_migrations" VALUES(7,'journal','m007_credentials_in_clear','2026-12-01 10:43:16.917563+00:00');
INSERT INTO "_sqlite_migrations" VALUES(8,'journal','m008_lanes_and_probes','2026-12-01 10:43:16.924589+00:00');
INSERT INTO "_sqlite_migrations" VALUES(9,'journal','m010_visible_events','2026-12-01 10:43:16.929824+00:00');
INSERT INTO "_sqlite_migrations" VALUES(10,'journal','m011_owners','2026-12-01 10:43:16.935596+00:00');
INSERT INTO "_sqlite_migrations" VALUES(11,'journal','m012_event_fields','2026-12-01 10:43:16.939038+00:00');
INSERT INTO "_sqlite_migrations" VALUES(12,'journal','m013_event_fields_planned','2026-12-01 10:43:16.942143+00:00');
INSERT INTO "_sqlite_migrations" VALUES(13,'journal','m014_api_keys','2026-12-01 10:43:16.943575+00:00');
INSERT INTO "_sqlite_migrations" VALUES(14,'journal','m015_consumers','2026-12-01 10:43:16.947581+00:00');
INSERT INTO "_sqlite_migrations" VALUES(15,'journal','m016_subscriptions','2026-12-01 10:43:16.949808+00:00');
INSERT INTO "_sqlite_migrations" VALUES(16,'journal','m017_replays','2026-12-01 10:43:16.952296+00:00');
INSERT INTO "_sqlite_migrations" VALUES(17,'journal','m018_counters_by_name','2026-12-01 10:43:16.958354+00:00');
INSERT INTO "_sqlite_migrations" VALUES(18,'journal','m020_retention','2026-12-01 10:43:16.967553+00:00');
INSERT INTO "_sqlite_migrations" VALUES(19,'journal','m021_sealed_parts','2026-12-01 10:43:16.980153+00:00');
CREATE TABLE api_keys (
  seq        integer primary key autoincrement,
  id         text not null unique,
  name       text not null unique,
  digest     blob not null unique,   -- SHA-256 of the key
  scopes     text not null,          -- JSON
  filter     text,                   -- its `when` in JSON; null: it sees all events
  expires_at real,                   -- null: never
  rate       text,                   -- such as 600/m; null: any
  created_at real not null
) strict;
INSERT INTO "api_keys" VALUES(1,'01a23133-b1dd-7543-8814-0a0efbf1dcdd','reader',X'F0EF5356C9B5DE2D5E2CF4AA50989B401CEC5B9223DF815E577501B818A83BCC','["events:read"]',NULL,NULL,NULL,1.79612180118132901194e+09);
CREATE TABLE attempts (
  delivery integer not null references deliveries,
  n        integer not null,
  at       real not null,
  outcome  text not null,
  status   integer,
  error    text,
  took_ms  real not null, answer blob, sealed blob,
  primary key (delivery, n)
) strict, without rowid;
INSERT INTO "attempts" VALUES(1,1,1.79612179860198807723e+09,'delivered',NULL,NULL,3.586,NULL,NULL);
INSERT INTO "attempts" VALUES(2,1,1.79612179860209131244e+09,'failed',NULL,'missing',0.979,NULL,NULL);
INSERT INTO "attempts" VALUES(2,2,1.79612179975205183031e+09,'failed',NULL,'missing',1.532,NULL,NULL);
INSERT INTO "attempts" VALUES(3,1,1.7961217986021461487e+09,'failed',NULL,'missing',2.009,NULL,NULL);
INSERT INTO "attempts" VALUES(4,1,1.79612179860219383243e+09,'failed',NULL,'missing',1.818,NULL,NULL);
INSERT INTO "attempts" VALUES(5,1,1.79612179860222911835e+09,'delivered',200,NULL,3.702,X'7B227370656376657273696F6E223A22312E30222C226964223A2230316132333133332D613763302D373831632D393961622D303764393034643962643033222C22736F75726365223A2274656C6C61626F74222C2274797065223A22736D732E7265636569766564222C227375626A656374223A22726571756573742F3130303030303030222C2274696D65223A22323032362D31312D31385431313A30363A34305A222C227265636F7264656474696D65223A22323032362D31322D30315431303A34333A31382E3539323530375A222C226465647570656B6579223A2233323930343334306632643263653564386332626530333938386561363865366634393662353665222C2264617461636F6E74656E7474797065223A226170706C69636174696F6E2F6A736F6E222C2264617461223A7B2270726F7669646572223A2274656C6C61626F74222C226368616E6E656C223A2263616C6C6261636B222C226C6162656C73223A7B227465616D223A2267726F777468227D2C227265666572656E6365223A6E756C6C2C2273616D706C65223A66616C73652C2274696D655F66726F6D223A2270726F7669646572222C227761726E696E6773223A5B5D2C22746F223A222B3138353035353530313031222C2266726F6D223A223232303030222C22636F756E747279223A225553222C2273657276696365223A7B226964223A22476F6F676C65222C226E616D65223A22476F6F676C65222C226B6579223A22676F6F676C65227D2C2274657874223A22472D39313832373320697320796F757220476F6F676C6520766572696669636174696F6E20636F64652E222C22636F6465223A22393138323733222C2275726C73223A5B5D2C227072696365223A7B22616D6F756E74223A22312E3230222C2263757272656E6379223A6E756C6C7D2C22726571756573745F6964223A223130303030303030222C2261637469766174696F6E5F6964223A6E756C6C2C2272656E74616C5F6964223A6E756C6C2C2266697273745F72656E74616C5F6964223A6E756C6C2C2274656C6570686F6E655F6964223A6E756C6C2C226D6573736167655F6964223A6E756C6C7D7D',NULL);
INSERT INTO "attempts" VALUES(7,1,1.79612179861294984821e+09,'delivered',NULL,NULL,4.002,NULL,NULL);
INSERT INTO "attempts" VALUES(8,1,1.79612179861307358743e+09,'failed',NULL,'missing',1.801,NULL,NULL);
INSERT INTO "attempts" VALUES(8,2,1.79612179964899778368e+09,'failed',NULL,'missing',0.417,NULL,NULL);
INSERT INTO "attempts" VALUES(9,1,1.79612179862251615525e+09,'delivered',NULL,NULL,4.096,NULL,NULL);
INSERT INTO "attempts" VALUES(10,1,1.79612179862261438362e+09,'failed',NULL,'missing',1.484,NULL,NULL);
INSERT INTO "attempts" VALUES(10,2,1.79612179967984604837e+09,'failed',NULL,'missing',1.14,NULL,NULL);
INSERT INTO "attempts" VALUES(11,1,1.79612179863061738015e+09,'delivered',NULL,NULL,4.935,NULL,NULL);
INSERT INTO "attempts" VALUES(12,1,1.79612179863071537021e+09,'failed',NULL,'missing',1.225,NULL,NULL);
INSERT INTO "attempts" VALUES(12,2,1.79612179972090339665e+09,'failed',NULL,'missing',0.358,NULL,NULL);
INSERT INTO "attempts" VALUES(13,1,1.79612179863694763188e+09,'delivered',NULL,NULL,9.068,NULL,NULL);
INSERT INTO "attempts" VALUES(14,1,1.79612179863700389863e+09,'failed',NULL,'missing',1.893,NULL,NULL);
INSERT INTO "attempts" VALUES(14,2,1.79612179976932930945e+09,'failed',NULL,'missing',0.509,NULL,NULL);
INSERT INTO "attempts" VALUES(14,3,1.79612180153989982604e+09,'refused',NULL,'erased',0.0,NULL,NULL);
INSERT INTO "attempts" VALUES(15,1,1.79612179863704824441e+09,'failed',NULL,'missing',1.0,NULL,NULL);
INSERT INTO "attempts" VALUES(16,1,1.79612179863709259036e+09,'failed',NULL,'missing',0.86,NULL,NULL);
INSERT INTO "attempts" VALUES(17,1,1.79612179863713383679e+09,'failed',500,'status',12.469,NULL,NULL);
INSERT INTO "attempts" VALUES(17,2,1.79612179978363847732e+09,'failed',500,'status',2.925,NULL,NULL);
INSERT INTO "attempts" VALUES(17,3,1.79612180153989982604e+09,'refused',NULL,'erased',0.0,NULL,NULL);
INSERT INTO "attempts" VALUES(18,1,1.79612180153989982604e+09,'refused',NULL,'erased',0.0,NULL,NULL);
INSERT INTO "attempts" VALUES(19,1,1796121798.65829,'delivered',NULL,NULL,9.091,NULL,NULL);
INSERT INTO "attempts" VALUES(20,1,1.79612179865952277186e+09,'failed',NULL,'missing',1.825,NULL,NULL);
INSERT INTO "attempts" VALUES(20,2,1796121799.84722,'failed',NULL,'missing',0.776,NULL,NULL);
INSERT INTO "attempts" VALUES(21,1,1.7961217986596024036e+09,'failed',NULL,'missing',1.859,NULL,NULL);
INSERT INTO "attempts" VALUES(22,1,1.79612179865965032577e+09,'failed',NULL,'missing',3.509,NULL,NULL);
INSERT INTO "attempts" VALUES(23,1,1.79612179865973234176e+09,'failed',500,'status',5.81,X'7B227370656376657273696F6E223A22312E30222C226964223A2230316132333133332D613766612D373737632D396231652D366437386366613934333161222C22736F75726365223A22736D736163746976617465222C2274797065223A22736D732E7265636569766564222C227375626A656374223A2261637469766174696F6E2F363335343638303234222C2274696D65223A22323032362D31312D31385430383A32343A32305A222C227265636F7264656474696D65223A22323032362D31322D30315431303A34333A31382E3635303436385A222C226465647570656B6579223A2233323930343736343966656338636533346635626231353062666638346638303935333763366433222C2264617461636F6E74656E7474797065223A226170706C69636174696F6E2F6A736F6E222C2264617461223A7B2270726F7669646572223A22736D735F6163746976617465222C226368616E6E656C223A2263616C6C6261636B222C226C6162656C73223A7B7D2C227265666572656E6365223A6E756C6C2C2273616D706C65223A66616C73652C2274696D655F66726F6D223A2274696D657A6F6E65222C227761726E696E6773223A5B5D2C22746F223A6E756C6C2C2266726F6D223A6E756C6C2C22636F756E747279223A225255222C2273657276696365223A7B226964223A22676F222C226E616D65223A22476F6F676C65222C226B6579223A22676F6F676C65227D2C2274657874223A22393138323737206973206974222C22636F6465223A22393138323737222C2275726C73223A5B5D2C227072696365223A6E756C6C2C22726571756573745F6964223A6E756C6C2C2261637469766174696F6E5F6964223A22363335343638303234222C2272656E74616C5F6964223A6E756C6C2C2266697273745F72656E74616C5F6964223A6E756C6C2C2274656C6570686F6E655F6964223A6E756C6C2C226D6573736167655F6964223A6E756C6C7D7D',NULL);
INSERT INTO "attempts" VALUES(23,2,1.79612179984515929224e+09,'failed',500,'status',3.178,X'7B227370656376657273696F6E223A22312E30222C226964223A2230316132333133332D613766612D373737632D396231652D366437386366613934333161222C22736F75726365223A22736D736163746976617465222C2274797065223A22736D732E7265636569766564222C227375626A656374223A2261637469766174696F6E2F363335343638303234222C2274696D65223A22323032362D31312D31385430383A32343A32305A222C227265636F7264656474696D65223A22323032362D31322D30315431303A34333A31382E3635303436385A222C226465647570656B6579223A2233323930343736343966656338636533346635626231353062666638346638303935333763366433222C2264617461636F6E74656E7474797065223A226170706C69636174696F6E2F6A736F6E222C2264617461223A7B2270726F7669646572223A22736D735F6163746976617465222C226368616E6E656C223A2263616C6C6261636B222C226C6162656C73223A7B7D2C227265666572656E6365223A6E756C6C2C2273616D706C65223A66616C73652C2274696D655F66726F6D223A2274696D657A6F6E65222C227761726E696E6773223A5B5D2C22746F223A6E756C6C2C2266726F6D223A6E756C6C2C22636F756E747279223A225255222C2273657276696365223A7B226964223A22676F222C226E616D65223A22476F6F676C65222C226B6579223A22676F6F676C65227D2C2274657874223A22393138323737206973206974222C22636F6465223A22393138323737222C2275726C73223A5B5D2C227072696365223A6E756C6C2C22726571756573745F6964223A6E756C6C2C2261637469766174696F6E5F6964223A22363335343638303234222C2272656E74616C5F6964223A6E756C6C2C2266697273745F72656E74616C5F6964223A6E756C6C2C2274656C6570686F6E655F6964223A6E756C6C2C226D6573736167655F6964223A6E756C6C7D7D',NULL);
INSERT INTO "attempts" VALUES(25,1,1.79612180150095200538e+09,'delivered',NULL,NULL,3.826,NULL,NULL);
INSERT INTO "attempts" VALUES(26,1,1.79612180150104594226e+09,'delivered',NULL,NULL,3.83,NULL,NULL);
INSERT INTO "attempts" VALUES(27,1,1.7961218015011062622e+09,'delivered',NULL,NULL,3.8,NULL,NULL);
INSERT INTO "attempts" VALUES(28,1,1.79612180150114536286e+09,'delivered',NULL,NULL,3.787,NULL,NULL);
INSERT INTO "attempts" VALUES(29,1,1.79612180153989982604e+09,'refused',NULL,'erased',0.0,NULL,NULL);
INSERT INTO "attempts" VALUES(30,1,1.79612180150117707252e+09,'delivered',NULL,NULL,3.78,NULL,NULL);
INSERT INTO "attempts" VALUES(31,1,1.79612180154258632659e+09,'delivered',NULL,NULL,4.173,NULL,NULL);
CREATE TABLE balances (
  source     text primary key,
  amount     text not null,
  currency   text,
  at         real not null,
  low        integer not null
) strict;
CREATE TABLE callbacks (
  id      integer primary key autoincrement,
  source  text not null,
  channel text not null,
  token   text not null,
  peer    text not null,
  at      real not null,
  headers text not null,             -- JSON: [[name, value], ...]
  body    blob not null
, erased_at real, sealed blob) strict;
INSERT INTO "callbacks" VALUES(1,'tellabot','callback','7de4f2510d23','127.0.0.1',1.79612179859220409388e+09,'[["accept-encoding","identity"],["content-length","167"],["host","127.0.0.1:39107"],["user-agent","Python-urllib/3.11"],["content-type","application/x-www-form-urlencoded"],["connection","close"]]',X'6576656E743D696E636F6D696E675F6D6573736167652669643D31303030303030302670726963653D312E32302674696D657374616D703D313739353030303030302666726F6D3D323230303026746F3D313835303535353031303126736572766963653D476F6F676C65267265706C793D472D3931383237332B69732B796F75722B476F6F676C652B766572696669636174696F6E2B636F64652E2670696E3D393138323733',NULL,NULL);
INSERT INTO "callbacks" VALUES(2,'tellabot','callback','7de4f2510d23','127.0.0.1',1.79612179860644102097e+09,'[["accept-encoding","identity"],["content-length","214"],["host","127.0.0.1:39107"],["user-agent","Python-urllib/3.11"],["content-type","application/x-www-form-urlencoded"],["connection","close"]]',X'6576656E743D696E636F6D696E675F6D6573736167652669643D31303030303030312670726963653D312E32302674696D657374616D703D313739353030303030312666726F6D3D323230303026746F3D313835303535353031303226736572766963653D54656C656772616D267265706C793D2544302539322544302542302544312538382B2544302542412544302542452544302542342533412B3931383237342532432B2544302542442544302542382544302542412544302542452544302542432544312538332670696E3D393138323734',NULL,NULL);
INSERT INTO "callbacks" VALUES(3,'tellabot','callback','7de4f2510d23','127.0.0.1',1.79612179861421394347e+09,'[["accept-encoding","identity"],["content-length","159"],["host","127.0.0.1:39107"],["user-agent","Python-urllib/3.11"],["content-type","application/x-www-form-urlencoded"],["connection","close"]]',X'6576656E743D696E636F6D696E675F6D6573736167652669643D31303030303030322670726963653D312E32302674696D657374616D703D313739353030303030322666726F6D3D323230303026746F3D313835303535353031303326736572766963653D5768617473417070267265706C793D2546302539462539342539312B3931383237352B2546302539462539342539312670696E3D393138323735',NULL,NULL);
INSERT INTO "callbacks" VALUES(4,'tellabot','callback','7de4f2510d23','127.0.0.1',1.79612179862351608273e+09,'[["accept-encoding","identity"],["content-length","139"],["host","127.0.0.1:39107"],["user-agent","Python-urllib/3.11"],["content-type","application/x-www-form-urlencoded"],["connection","close"]]',X'6576656E743D696E636F6D696E675F6D6573736167652669643D31303030303030332670726963653D312E32302674696D657374616D703D313739353030303030332666726F6D3D323230303026746F3D313835303535353031303426736572766963653D44484C267265706C793D596F75722B70617263656C2B6861732B617272697665642670696E3D',NULL,NULL);
INSERT INTO "callbacks" VALUES(5,'tellabot','callback','7de4f2510d23','127.0.0.1',1.79612179863131690019e+09,'[]',X'',1.79612180153989982604e+09,NULL);
INSERT INTO "callbacks" VALUES(6,'smsactivate','callback','9684990b64c1','127.0.0.1',1.79612179865016388896e+09,'[["accept-encoding","identity"],["content-length","137"],["host","127.0.0.1:39107"],["user-agent","Python-urllib/3.11"],["content-type","application/json"],["connection","close"]]',X'7B2261637469766174696F6E4964223A203633353436383032342C202273657276696365223A2022676F222C202274657874223A2022393138323737206973206974222C2022636F6465223A2022393138323737222C2022636F756E747279223A20302C202272656365697665644174223A2022323032362D31312D31382031313A32343A3230227D',NULL,NULL);
CREATE TABLE consumers (
  key        text not null,
  name       text not null,
  place      integer not null,
  created_at real not null,
  moved_at   real not null,          -- when its place was last set, even to the same place
  primary key (key, name)
) strict, without rowid;
INSERT INTO "consumers" VALUES('admin','crm',2,1.79612180119769334792e+09,1.79612180119769334792e+09);
CREATE TABLE counters (
  name  text primary key,
  value integer not null
) strict, without rowid;
INSERT INTO "counters" VALUES('dead/never',3);
INSERT INTO "counters" VALUES('delivered/crm',1);
INSERT INTO "counters" VALUES('delivered/log',12);
INSERT INTO "counters" VALUES('deliveries.dead',3);
INSERT INTO "counters" VALUES('deliveries.delivered',13);
INSERT INTO "counters" VALUES('deliveries.expired',7);
INSERT INTO "counters" VALUES('deliveries.pending',8);
INSERT INTO "counters" VALUES('duplicates',1);
INSERT INTO "counters" VALUES('events',6);
INSERT INTO "counters" VALUES('events/smsactivate/sms.received',1);
INSERT INTO "counters" VALUES('events/tellabot/sms.received',5);
INSERT INTO "counters" VALUES('expired/crm',1);
INSERT INTO "counters" VALUES('expired/later',1);
INSERT INTO "counters" VALUES('expired/log',1);
INSERT INTO "counters" VALUES('expired/slow',1);
INSERT INTO "counters" VALUES('expired/soon',3);
INSERT INTO "counters" VALUES('orders/tellabot/cancelled',1);
INSERT INTO "counters" VALUES('orders/tellabot/received',1);
INSERT INTO "counters" VALUES('orders/tellabot/waiting',3);
INSERT INTO "counters" VALUES('pending/crm',1);
INSERT INTO "counters" VALUES('pending/later',5);
INSERT INTO "counters" VALUES('pending/log',0);
INSERT INTO "counters" VALUES('pending/never',0);
INSERT INTO "counters" VALUES('pending/slow',2);
INSERT INTO "counters" VALUES('pending/soon',0);
INSERT INTO "counters" VALUES('quarantine',2);
CREATE TABLE deliveries (
  id          integer primary key autoincrement,
  event       integer not null references events,
  sink        text not null,         -- a name: what is owed outlives the configuration
  state       text not null,
  attempts    integer not null default 0,
  due_at      real,
  owner       integer references starts,
  accepted_at real not null
, ordering text, replay integer not null default 0, begun integer not null default 0, scheduled_at real, held integer not null default 0, fixed integer not null default 0) strict;
INSERT INTO "deliveries" VALUES(1,1,'log','delivered',1,NULL,NULL,1.79612179859250688553e+09,'"+18505550101"',0,0,NULL,0,0);
INSERT INTO "deliveries" VALUES(2,1,'later','pending',2,1.79612180329116749759e+09,NULL,1.79612179859250688553e+09,NULL,0,0,NULL,1,0);
INSERT INTO "deliveries" VALUES(3,1,'never','dead',1,NULL,NULL,1.79612179859250688553e+09,NULL,0,0,NULL,1,0);
INSERT INTO "deliveries" VALUES(4,1,'soon','expired',1,NULL,NULL,1.79612179859250688553e+09,NULL,0,0,NULL,0,0);
INSERT INTO "deliveries" VALUES(5,1,'crm','delivered',1,NULL,NULL,1.79612179859250688553e+09,NULL,0,0,NULL,0,0);
INSERT INTO "deliveries" VALUES(6,1,'slow','pending',0,1.79612179859250688553e+09,1,1.79612179859250688553e+09,NULL,0,0,NULL,0,0);
INSERT INTO "deliveries" VALUES(7,2,'log','delivered',1,NULL,NULL,1.79612179860674905777e+09,'"+18505550102"',0,0,NULL,0,0);
INSERT INTO "deliveries" VALUES(8,2,'later','pending',2,1.79612180310698890681e+09,NULL,1.79612179860674905777e+09,NULL,0,0,NULL,1,0);
INSERT INTO "deliveries" VALUES(9,3,'log','delivered',1,NULL,NULL,1.79612179861452198026e+09,'"+18505550103"',0,0,NULL,0,0);
INSERT INTO "deliveries" VALUES(10,3,'later','pending',2,1.79612180314706397056e+09,NULL,1.79612179861452198026e+09,NULL,0,0,NULL,1,0);
INSERT INTO "deliveries" VALUES(11,4,'log','delivered',1,NULL,NULL,1.79612179862379908561e+09,'"+18505550104"',0,0,NULL,0,0);
INSERT INTO "deliveries" VALUES(12,4,'later','pending',2,1.79612180320132827759e+09,NULL,1.79612179862379908561e+09,NULL,0,0,NULL,1,0);
INSERT INTO "deliveries" VALUES(13,5,'log','delivered',1,NULL,NULL,1.79612179863158702855e+09,NULL,0,0,NULL,0,0);
INSERT INTO "deliveries" VALUES(14,5,'later','expired',3,NULL,NULL,1.79612179863158702855e+09,NULL,0,0,NULL,0,0);
INSERT INTO "deliveries" VALUES(15,5,'never','dead',1,NULL,NULL,1.79612179863158702855e+09,NULL,0,0,NULL,1,0);
INSERT INTO "deliveries" VALUES(16,5,'soon','expired',1,NULL,NULL,1.79612179863158702855e+09,NULL,0,0,NULL,0,0);
INSERT INTO "deliveries" VALUES(17,5,'crm','expired',3,NULL,NULL,1.79612179863158702855e+09,NULL,0,0,NULL,0,0);
INSERT INTO "deliveries" VALUES(18,5,'slow','expired',1,NULL,NULL,1.79612179863158702855e+09,NULL,0,0,NULL,0,0);
INSERT INTO "deliveries" VALUES(19,6,'log','delivered',1,NULL,NULL,1.79612179865046811102e+09,NULL,0,0,NULL,0,0);
INSERT INTO "deliveries" VALUES(20,6,'later','pending',2,1.79612180291314387317e+09,NULL,1.79612179865046811102e+09,NULL,0,0,NULL,1,0);
INSERT INTO "deliveries" VALUES(21,6,'never','dead',1,NULL,NULL,1.79612179865046811102e+09,NULL,0,0,NULL,1,0);
INSERT INTO "deliveries" VALUES(22,6,'soon','expired',1,NULL,NULL,1.79612179865046811102e+09,NULL,0,0,NULL,0,0);
INSERT INTO "deliveries" VALUES(23,6,'crm','pending',2,1.79612180287639856338e+09,NULL,1.79612179865046811102e+09,NULL,0,0,NULL,1,0);
INSERT INTO "deliveries" VALUES(24,6,'slow','pending',0,1.79612179865046811102e+09,1,1.79612179865046811102e+09,NULL,0,0,NULL,0,0);
INSERT INTO "deliveries" VALUES(25,1,'log','delivered',1,NULL,NULL,1.79612180148223447798e+09,'"+18505550101"',1,0,NULL,0,0);
INSERT INTO "deliveries" VALUES(26,2,'log','delivered',1,NULL,NULL,1.79612180148223447798e+09,'"+18505550102"',1,0,NULL,0,0);
INSERT INTO "deliveries" VALUES(27,3,'log','delivered',1,NULL,NULL,1.79612180148223447798e+09,'"+18505550103"',1,0,NULL,0,0);
INSERT INTO "deliveries" VALUES(28,4,'log','delivered',1,NULL,NULL,1.79612180148223447798e+09,'"+18505550104"',1,0,NULL,0,0);
INSERT INTO "deliveries" VALUES(29,5,'log','expired',1,NULL,NULL,1.79612180148223447798e+09,NULL,1,0,NULL,0,0);
INSERT INTO "deliveries" VALUES(30,6,'log','delivered',1,NULL,NULL,1.79612180148223447798e+09,NULL,1,0,NULL,0,0);
INSERT INTO "deliveries" VALUES(31,4,'log','delivered',1,NULL,NULL,1.79612180150269436836e+09,'"+18505550104"',1,0,NULL,0,0);
CREATE TABLE duplicates (
  event   integer not null references events,
  n       integer not null,
  at      real not null,
  channel text not null,
  peer    text not null,
  primary key (event, n)
) strict, without rowid;
INSERT INTO "duplicates" VALUES(1,1,1.7961217986391630173e+09,'callback','127.0.0.1');
CREATE TABLE event_fields (
  seq          integer primary key references events,
  number       text,                 -- data.to
  service_id   text,
  service_name text,
  service_key  text,
  has_code     integer not null
) strict;
INSERT INTO "event_fields" VALUES(1,'+18505550101','Google','Google','google',1);
INSERT INTO "event_fields" VALUES(2,'+18505550102','Telegram','Telegram','telegram',1);
INSERT INTO "event_fields" VALUES(3,'+18505550103','WhatsApp','WhatsApp','whatsapp',1);
INSERT INTO "event_fields" VALUES(4,'+18505550104','DHL','DHL','dhl',0);
INSERT INTO "event_fields" VALUES(5,NULL,'Google','Google','google',0);
INSERT INTO "event_fields" VALUES(6,NULL,'go','Google','google',1);
CREATE TABLE events (
  seq         integer primary key autoincrement,   -- the order of commits
  id          text not null unique,                -- UUIDv7: grows
  source      text not null,
  type        text not null,
  subject     text not null,
  also        text,                  -- what else it happened to, written like a subject
  recorded_at real not null,
  callback    integer not null references callbacks,
  routes      text not null,         -- JSON: the names of those that matched
  body        text not null          -- the CloudEvent, as it is sent
, reference text, erased_at real, codes blob, people blob) strict;
INSERT INTO "events" VALUES(1,'01a23133-a7c0-781c-99ab-07d904d9bd03','tellabot','sms.received','request/10000000',NULL,1.79612179859250688553e+09,1,'["everything", "google"]','{"specversion":"1.0","id":"01a23133-a7c0-781c-99ab-07d904d9bd03","source":"tellabot","type":"sms.received","subject":"request/10000000","time":"2026-11-18T11:06:40Z","recordedtime":"2026-12-01T10:43:18.592507Z","dedupekey":"32904340f2d2ce5d8c2be03988ea68e6f496b56e","datacontenttype":"application/json","data":{"provider":"tellabot","channel":"callback","labels":{"team":"growth"},"reference":null,"sample":false,"time_from":"provider","warnings":[],"to":"+18505550101","from":"22000","country":"US","service":{"id":"Google","name":"Google","key":"google"},"text":"G-918273 is your Google verification code.","code":"918273","urls":[],"price":{"amount":"1.20","currency":null},"request_id":"10000000","activation_id":null,"rental_id":null,"first_rental_id":null,"telephone_id":null,"message_id":null}}',NULL,NULL,NULL,NULL);
INSERT INTO "events" VALUES(2,'01a23133-a7ce-7bfb-82ce-e772c144f433','tellabot','sms.received','request/10000001',NULL,1.79612179860674905777e+09,2,'["everything"]','{"specversion":"1.0","id":"01a23133-a7ce-7bfb-82ce-e772c144f433","source":"tellabot","type":"sms.received","subject":"request/10000001","time":"2026-11-18T11:06:41Z","recordedtime":"2026-12-01T10:43:18.606749Z","dedupekey":"32904341767f6ed8747fc587da874c3f7b8b4613","datacontenttype":"application/json","data":{"provider":"tellabot","channel":"callback","labels":{"team":"growth"},"reference":null,"sample":false,"time_from":"provider","warnings":[],"to":"+18505550102","from":"22000","country":"US","service":{"id":"Telegram","name":"Telegram","key":"telegram"},"text":"Ваш код: 918274, никому","code":"918274","urls":[],"price":{"amount":"1.20","currency":null},"request_id":"10000001","activation_id":null,"rental_id":null,"first_rental_id":null,"telephone_id":null,"message_id":null}}',NULL,NULL,NULL,NULL);
INSERT INTO "events" VALUES(3,'01a23133-a7d6-785a-9c0e-f0d47b7b52f6','tellabot','sms.received','request/10000002',NULL,1.79612179861452198026e+09,3,'["everything"]','{"specversion":"1.0","id":"01a23133-a7d6-785a-9c0e-f0d47b7b52f6","source":"tellabot","type":"sms.received","subject":"request/10000002","time":"2026-11-18T11:06:42Z","recordedtime":"2026-12-01T10:43:18.614522Z","dedupekey":"32904342a965f9509dd09a5fddf26a07b95bb533","datacontenttype":"application/json","data":{"provider":"tellabot","channel":"callback","labels":{"team":"growth"},"reference":null,"sample":false,"time_from":"provider","warnings":[],"to":"+18505550103","from":"22000","country":"US","service":{"id":"WhatsApp","name":"WhatsApp","key":"whatsapp"},"text":"🔑 918275 🔑","code":"918275","urls":[],"price":{"amount":"1.20","currency":null},"request_id":"10000002","activation_id":null,"rental_id":null,"first_rental_id":null,"telephone_id":null,"message_id":null}}',NULL,NULL,NULL,NULL);
INSERT INTO "events" VALUES(4,'01a23133-a7df-7cc8-bd90-03c943e7e582','tellabot','sms.received','request/10000003',NULL,1.79612179862379908561e+09,4,'["everything"]','{"specversion":"1.0","id":"01a23133-a7df-7cc8-bd90-03c943e7e582","source":"tellabot","type":"sms.received","subject":"request/10000003","time":"2026-11-18T11:06:43Z","recordedtime":"2026-12-01T10:43:18.623799Z","dedupekey":"329043433a46ea4396d33918cb05e44abb4699cf","datacontenttype":"application/json","data":{"provider":"tellabot","channel":"callback","labels":{"team":"growth"},"reference":null,"sample":false,"time_from":"provider","warnings":[],"to":"+18505550104","from":"22000","country":"US","service":{"id":"DHL","name":"DHL","key":"dhl"},"text":"Your parcel has arrived","code":null,"urls":[],"price":{"amount":"1.20","currency":null},"request_id":"10000003","activation_id":null,"rental_id":null,"first_rental_id":null,"telephone_id":null,"message_id":null}}',NULL,NULL,NULL,NULL);
INSERT INTO "events" VALUES(5,'01a23133-a7e7-7964-9e7a-b6ddee1610c8','tellabot','sms.received','request/10000004',NULL,1.79612179863158702855e+09,5,'["everything", "google"]','{"specversion":"1.0","id":"01a23133-a7e7-7964-9e7a-b6ddee1610c8","source":"tellabot","type":"sms.received","subject":"request/10000004","time":"2026-11-18T11:06:44Z","recordedtime":"2026-12-01T10:43:18.631587Z","dedupekey":"329043440881e4bf566f898729be298fac582445","datacontenttype":"application/json","erasedtime":"2026-12-01T10:43:21.539900Z","data":{"provider":"tellabot","channel":"callback","labels":{"team":"growth"},"reference":null,"sample":false,"time_from":"provider","warnings":[],"to":null,"from":null,"country":"US","service":{"id":"Google","name":"Google","key":"google"},"text":null,"code":null,"urls":null,"price":{"amount":"1.20","currency":null},"request_id":"10000004","activation_id":null,"rental_id":null,"first_rental_id":null,"telephone_id":null,"message_id":null}}',NULL,1.79612180153989982604e+09,NULL,NULL);
INSERT INTO "events" VALUES(6,'01a23133-a7fa-777c-9b1e-6d78cfa9431a','smsactivate','sms.received','activation/635468024',NULL,1.79612179865046811102e+09,6,'["everything", "google"]','{"specversion":"1.0","id":"01a23133-a7fa-777c-9b1e-6d78cfa9431a","source":"smsactivate","type":"sms.received","subject":"activation/635468024","time":"2026-11-18T08:24:20Z","recordedtime":"2026-12-01T10:43:18.650468Z","dedupekey":"329047649fec8ce34f5bb150bff84f809537c6d3","datacontenttype":"application/json","data":{"provider":"sms_activate","channel":"callback","labels":{},"reference":null,"sample":false,"time_from":"timezone","warnings":[],"to":null,"from":null,"country":"RU","service":{"id":"go","name":"Google","key":"google"},"text":"918277 is it","code":"918277","urls":[],"price":null,"request_id":null,"activation_id":"635468024","rental_id":null,"first_rental_id":null,"telephone_id":null,"message_id":null}}',NULL,NULL,NULL,NULL);
CREATE TABLE key_uses (
  name    text primary key,
  last_at real not null
) strict, without rowid;
CREATE TABLE keys (
  source text not null,
  key    blob not null,
  event  integer not null references events,
  primary key (source, key)
) strict, without rowid;
INSERT INTO "keys" VALUES('smsactivate',X'329047649FEC8CE34F5BB150BFF84F809537C6D3',6);
INSERT INTO "keys" VALUES('tellabot',X'32904340F2D2CE5D8C2BE03988EA68E6F496B56E',1);
INSERT INTO "keys" VALUES('tellabot',X'32904341767F6ED8747FC587DA874C3F7B8B4613',2);
INSERT INTO "keys" VALUES('tellabot',X'32904342A965F9509DD09A5FDDF26A07B95BB533',3);
INSERT INTO "keys" VALUES('tellabot',X'329043433A46EA4396D33918CB05E44ABB4699CF',4);
INSERT INTO "keys" VALUES('tellabot',X'329043440881E4BF566F898729BE298FAC582445',5);
CREATE TABLE made_calls (
  key     blob primary key,          -- a keyed hash of the header and the API key
  request blob not null,             -- a keyed hash of the request
  status  integer not null,          -- of its answer
  answer  text not null,             -- JSON: the ids of what it made, and no content of messages
  at      real not null
) strict, without rowid;
CREATE TABLE meta (
  name  text primary key,
  value text not null
) strict, without rowid;
INSERT INTO "meta" VALUES('generation','22dab47425ee48aea598a09d8d3141d0');
INSERT INTO "meta" VALUES('identity','22dab47425ee48aea598a09d8d3141d0');
INSERT INTO "meta" VALUES('newest_recorded_at','1796121798.592507');
INSERT INTO "meta" VALUES('seal','03586be375afe06df9eb45e76d87414fdabfc8d7bae2e5b872629e27e35713e3');
INSERT INTO "meta" VALUES('unordered_until','0');
CREATE TABLE moments (
  name text primary key,
  at   real not null
) strict, without rowid;
INSERT INTO "moments" VALUES('retention_clock',1.79612179802144360544e+09);
CREATE TABLE order_copies (
  order_seq  integer not null references orders,
  event      integer not null references events,
  primary key (order_seq, event)
) strict, without rowid;
CREATE TABLE order_events (
  event      integer primary key references events,
  order_seq  integer not null references orders
, taken text not null default '[]') strict;
INSERT INTO "order_events" VALUES(4,2,'[]');
CREATE TABLE orders (
  seq        integer primary key autoincrement,
  id         text not null unique,
  source     text not null,
  provider   text not null,
  kind       text not null,          -- request_id, activation_id, rental_id, number
  name       text not null,          -- the id of that kind
  number     text,
  service    text,
  country    text,
  amount     text,
  currency   text,
  reference  text,
  labels     text not null,          -- JSON
  created_at real not null,
  expires_at real not null,
  state      text not null
, origin text not null default 'user', provided text not null default '[]', lasts real, reason text, sealed blob) strict;
INSERT INTO "orders" VALUES(1,'01a23133-a7aa-7a31-a7c9-c1b23546061a','tellabot','tellabot','number','+18505550102','+18505550102',NULL,NULL,NULL,NULL,'job-7','{"shop":"a"}',1.79612179857063698771e+09,1.7962945985706369877e+09,'waiting','user','[]',172800.0,NULL,NULL);
INSERT INTO "orders" VALUES(2,'01a23133-a7af-78f1-b5ff-3a9bbcb151e6','tellabot','tellabot','request_id','10000003',NULL,'DHL',NULL,NULL,NULL,NULL,'{}',1.79612179857555890084e+09,1.79629459857555890084e+09,'received','user','[]',172800.0,NULL,NULL);
INSERT INTO "orders" VALUES(3,'01a23133-a7b4-7c08-ac75-da0cc875e31e','tellabot','tellabot','number','+18505550109','+18505550109',NULL,NULL,NULL,NULL,NULL,'{}',1.79612179858075189588e+09,1.79612179858559823037e+09,'cancelled','user','[]',172800.0,NULL,NULL);
CREATE TABLE probes (
  delivery integer not null references deliveries,
  n        integer not null,          -- the number of the attempt that they are before
  at       real not null,
  outcome  text not null,
  status   integer,
  error    text,
  took_ms  real not null,
  answer   blob,
  count    integer not null, sealed blob,
  primary key (delivery, n)
) strict, without rowid;
INSERT INTO "probes" VALUES(2,3,1.79612180003861570355e+09,'failed',NULL,'missing',1.022,NULL,1,NULL);
INSERT INTO "probes" VALUES(17,3,1.79612180003879189495e+09,'failed',500,'status',2.17,NULL,1,NULL);
INSERT INTO "probes" VALUES(23,3,1.79612180205164599419e+09,'failed',500,'status',2.042,X'7B227370656376657273696F6E223A22312E30222C226964223A2230316132333133332D613766612D373737632D396231652D366437386366613934333161222C22736F75726365223A22736D736163746976617465222C2274797065223A22736D732E7265636569766564222C227375626A656374223A2261637469766174696F6E2F363335343638303234222C2274696D65223A22323032362D31312D31385430383A32343A32305A222C227265636F7264656474696D65223A22323032362D31322D30315431303A34333A31382E3635303436385A222C226465647570656B6579223A2233323930343736343966656338636533346635626231353062666638346638303935333763366433222C2264617461636F6E74656E7474797065223A226170706C69636174696F6E2F6A736F6E222C2264617461223A7B2270726F7669646572223A22736D735F6163746976617465222C226368616E6E656C223A2263616C6C6261636B222C226C6162656C73223A7B7D2C227265666572656E6365223A6E756C6C2C2273616D706C65223A66616C73652C2274696D655F66726F6D223A2274696D657A6F6E65222C227761726E696E6773223A5B5D2C22746F223A6E756C6C2C2266726F6D223A6E756C6C2C22636F756E747279223A225255222C2273657276696365223A7B226964223A22676F222C226E616D65223A22476F6F676C65222C226B6579223A22676F6F676C65227D2C2274657874223A22393138323737206973206974222C22636F6465223A22393138323737222C2275726C73223A5B5D2C227072696365223A6E756C6C2C22726571756573745F6964223A6E756C6C2C2261637469766174696F6E5F6964223A22363335343638303234222C2272656E74616C5F6964223A6E756C6C2C2266697273745F72656E74616C5F6964223A6E756C6C2C2274656C6570686F6E655F6964223A6E756C6C2C226D6573736167655F6964223A6E756C6C7D7D',1,NULL);
CREATE TABLE pruned_events (
  seq         integer primary key,
  id          text not null,
  recorded_at real not null
) strict;
CREATE TABLE pruned_places (
  kind  text primary key,
  place integer not null
) strict, without rowid;
CREATE TABLE quarantine (
  seq         integer primary key autoincrement,
  id          text not null unique,
  source      text not null,
  fingerprint blob not null,         -- keyed hash of the body
  reason      text not null,
  detail      text not null,
  token       text not null,
  peer        text not null,
  at          real not null,
  count       integer not null default 1,
  last_at     real not null,
  headers     text not null,
  body        blob not null, sealed blob,
  unique (source, fingerprint)
) strict;
INSERT INTO "quarantine" VALUES(1,'01a23133-a807-7041-a9db-a42ebda69237','tellabot',X'00CA66A3FC5C2CD7B096404C483E56CC','unknown_event','event, status: unknown or missing','7de4f2510d23','127.0.0.1',1.79612179866235494615e+09,1,1.79612179866235494615e+09,'[["accept-encoding","identity"],["content-length","18"],["host","127.0.0.1:39107"],["user-agent","Python-urllib/3.11"],["content-type","application/json"],["connection","close"]]',X'7B2277686174223A2022393138323738227D',NULL);
INSERT INTO "quarantine" VALUES(2,'01a23133-a80d-7991-8ddf-4306247a3801','tellabot',X'43F5537D9B3FC17BB226DE839CE58190','unknown_event','event, status: unknown or missing','7de4f2510d23','127.0.0.1',1.79612179866948509215e+09,1,1.79612179866948509215e+09,'[["accept-encoding","identity"],["content-length","6"],["host","127.0.0.1:39107"],["user-agent","Python-urllib/3.11"],["content-type","application/json"],["connection","close"]]',X'393138323739',NULL);
CREATE TABLE rejections (
  seq      integer primary key autoincrement,
  reason   text not null,
  source   text not null,
  peer     text not null,
  count    integer not null,
  first_at real not null,
  last_at  real not null,
  unique (reason, source, peer)
) strict;
INSERT INTO "rejections" VALUES(1,'token','tellabot','127.0.0.1',1,1.79612179867346549036e+09,1.79612179867346549036e+09);
CREATE TABLE replays (
  id         text primary key,       -- UUIDv7: grows
  key        text not null,          -- the id of the API key that started it
  state      text not null,
  since      real,
  until      real,
  types      text not null,          -- JSON: a list, empty for any
  sources    text not null,          -- JSON: a list, empty for any
  sinks      text,                   -- JSON: a list; null: the sinks of the first deliveries
  last       integer not null,       -- the place of the newest event when it started
  place      integer not null,       -- events up to this place are done
  matched    integer not null,
  replayed   integer not null,
  created    integer not null,       -- deliveries
  created_at real not null,
  ended_at   real
) strict, without rowid;
INSERT INTO "replays" VALUES('01a23133-b306-767a-9086-c9356655704b','admin','done',1.79611820147727870942e+09,NULL,'[]','[]','["log"]',6,6,6,6,6,1.79612180147727870942e+09,1.79612180148223447798e+09);
CREATE TABLE sinks (
  name            text primary key,
  ordered_by      text,              -- what `ordering` of its deliveries was made with
  paused          text,              -- by whom: 'operator', 'failing'
  paused_at       real,
  failing_since   real,
  last_success_at real,
  last_error_at   real,
  last_error      text,
  last_status     integer
) strict, without rowid;
INSERT INTO "sinks" VALUES('crm',NULL,NULL,NULL,1.79612179863713383679e+09,1.79612179860222911835e+09,1.79612180205164599419e+09,'status',500);
INSERT INTO "sinks" VALUES('later',NULL,'operator',1.79612180150869321822e+09,1.79612179860209131244e+09,NULL,1.79612180003861570355e+09,'missing',NULL);
INSERT INTO "sinks" VALUES('log','data.to',NULL,NULL,NULL,1.79612180154258632659e+09,NULL,NULL,NULL);
INSERT INTO "sinks" VALUES('never',NULL,NULL,NULL,1.7961217986021461487e+09,NULL,1.7961217986596024036e+09,'missing',NULL);
INSERT INTO "sinks" VALUES('soon',NULL,NULL,NULL,1.79612179860219383243e+09,NULL,1.79612179865965032577e+09,'missing',NULL);
CREATE TABLE starts (
  id      integer primary key,
  at      real not null,
  pid     integer not null,
  version text not null
) strict;
INSERT INTO "starts" VALUES(1,1.79612179680268955225e+09,7030,'0.1.0');
CREATE TABLE subscriptions (
  seq        integer primary key autoincrement,
  id         text not null unique,
  key        text not null,          -- the name of the API key that made it
  url        text not null,
  filter     text,                   -- its `when` in JSON; null: the default of routes
  format     text not null,
  secrets    text not null,          -- JSON: encrypted, the current one first
  created_at real not null
) strict;
INSERT INTO "subscriptions" VALUES(1,'01a23133-b2fd-7ee9-8e3f-eef5415094b7','admin','http://127.0.0.1:33267/hook','{"data.service.key":"google"}','json','[{"sealed":"DDlVERCy2eWX/76qffRx3KxZxOYGXR/W3L6n5l6H58o0PMbWxZSFuzgU4JKfDwtAb3IcENebpmFC69CwHc3hN8w3","until":null}]',1.7961218014699320793e+09);
CREATE TABLE token_uses (
  source    text not null,
  token     text not null,
  callbacks integer not null,
  last_at   real not null,
  primary key (source, token)
) strict, without rowid;
INSERT INTO "token_uses" VALUES('smsactivate','9684990b64c1',1,1.79612179865016388896e+09);
INSERT INTO "token_uses" VALUES('tellabot','7de4f2510d23',8,1.79612179866948509215e+09);
CREATE TABLE twins (
  event  integer not null references events,
  form   text not null,
  second real,                        -- when the provider said that it was, this way
  primary key (event, form)
) strict, without rowid;
CREATE TABLE visible (
  filter integer not null references visible_filters,
  seq    integer not null references events,
  primary key (filter, seq)
) strict, without rowid;
CREATE TABLE visible_filters (
  id     integer primary key,
  digest text unique,                -- of the `when`; null: no longer configured, being removed
  unseen integer not null            -- events up to this place are still to be looked at; 0: none
) strict;
CREATE UNIQUE INDEX "idx__sqlite_migrations_migration_set_name"
    ON "_sqlite_migrations" ("migration_set", "name");
CREATE INDEX events_subject on events (subject);
CREATE INDEX events_also on events (also) where also is not null;
CREATE INDEX deliveries_event on deliveries (event);
CREATE INDEX deliveries_ordered on deliveries (sink, ordering, id)
  where ordering is not null and state in ('pending', 'sending');
CREATE INDEX deliveries_failed on deliveries (sink, id) where state = 'pending' and attempts > 0;
CREATE INDEX deliveries_given_up on deliveries (state, id) where state in ('dead', 'expired');
CREATE INDEX orders_name on orders (name, kind, source);
CREATE INDEX orders_number on orders (number) where number is not null;
CREATE INDEX orders_reference on orders (reference) where reference is not null;
CREATE INDEX orders_expires on orders (expires_at);
CREATE INDEX orders_waiting on orders (expires_at) where state = 'waiting';
CREATE INDEX order_events_order on order_events (order_seq, event);
CREATE INDEX events_reference on events (reference) where reference is not null;
CREATE INDEX deliveries_retried on deliveries (sink, due_at) where state = 'pending' and attempts > 0;
CREATE INDEX deliveries_held on deliveries (sink, id) where state = 'pending' and held = 1;
CREATE INDEX event_fields_number on event_fields (seq >> 12, number) where number is not null;
CREATE INDEX made_calls_at on made_calls (at);
CREATE INDEX replays_running on replays (state) where state = 'running';
CREATE INDEX deliveries_fresh on deliveries (sink, replay, due_at)
  where state = 'pending' and attempts = 0;
CREATE INDEX order_copies_event on order_copies (event);
CREATE TRIGGER event_fields_changed after update of body on events when json_valid(new.body) begin
  update event_fields set
    number = iif(new.people is null, json_extract(new.body, '$.data.to'), number),
    service_id = json_extract(new.body, '$.data.service.id'),
    service_name = json_extract(new.body, '$.data.service.name'),
    service_key = json_extract(new.body, '$.data.service.key'),
    has_code = json_extract(new.body, '$.data.code') is not null
  where seq = new.seq;
end;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('orders',3);
INSERT INTO "sqlite_sequence" VALUES('callbacks',6);
INSERT INTO "sqlite_sequence" VALUES('events',6);
INSERT INTO "sqlite_sequence" VALUES('deliveries',31);
INSERT INTO "sqlite_sequence" VALUES('quarantine',2);
INSERT INTO "sqlite_sequence" VALUES('rejections',1);
INSERT INTO "sqlite_sequence" VALUES('api_keys',1);
INSERT INTO "sqlite_sequence" VALUES('subscriptions',1);
COMMIT;
