import java.io.BufferedOutputStream;
import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.RecordBatch;
import org.apache.kafka.common.requests.ProduceRequest;
import org.apache.kafka.common.utils.BufferSupplier;
import org.apache.kafka.common.utils.PrimitiveRef;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.common.utils.Utils;
import org.apache.kafka.server.record.BrokerCompressionType;
import org.apache.kafka.server.util.KafkaScheduler;
import org.apache.kafka.storage.internals.log.AppendOrigin;
import org.apache.kafka.storage.internals.log.LogAppendInfo;
import org.apache.kafka.storage.internals.log.LogConfig;
import org.apache.kafka.storage.internals.log.LogDirFailureChannel;
import org.apache.kafka.storage.internals.log.LogValidator;
import org.apache.kafka.storage.internals.log.ProducerStateManagerConfig;
import org.apache.kafka.storage.internals.log.RecordValidationException;
import org.apache.kafka.storage.internals.log.UnifiedLog;
import org.apache.kafka.storage.log.metrics.BrokerTopicStats;

/**
 * What Kafka makes of one partition's records of a Produce request, from the request to the bytes that are written, but
 * for what it knows of the producer. A question is the time, the request's version, the topic's configs as name=value
 * with commas, and the records in hexadecimal, with tabs between. The answer is an error's code, or the bytes.
 */
public class Validates {
    private static final long BASE_OFFSET = 1000;
    private static final int LEADER_EPOCH = 5;
    private static long now;

    private static final Time TIME = (Time) Proxy.newProxyInstance(Time.class.getClassLoader(), new Class<?>[] {Time.class},
        (proxy, method, arguments) -> switch (method.getName()) {
            case "milliseconds", "hiResClockMs" -> now;
            case "nanoseconds" -> now * 1_000_000;
            default -> throw new UnsupportedOperationException(method.getName());
        });

    private static final LogValidator.MetricsRecorder UNCOUNTED = new LogValidator.MetricsRecorder() {
        public void recordInvalidMagic() { }
        public void recordInvalidOffset() { }
        public void recordInvalidSequence() { }
        public void recordInvalidChecksums() { }
        public void recordNoKeyCompactedTopic() { }
    };

    public static void main(String[] args) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        PrintStream out = new PrintStream(new BufferedOutputStream(System.out, 1 << 16), false, StandardCharsets.UTF_8);
        Map<String, UnifiedLog> logs = new HashMap<>();
        Method analyze = UnifiedLog.class.getDeclaredMethod("analyzeAndValidateRecords", MemoryRecords.class, AppendOrigin.class,
            boolean.class, boolean.class, int.class);
        Method trim = UnifiedLog.class.getDeclaredMethod("trimInvalidBytes", MemoryRecords.class, LogAppendInfo.class);
        analyze.setAccessible(true);
        trim.setAccessible(true);
        for (String line; (line = in.readLine()) != null;) {
            String[] f = line.split("\t", -1);
            now = Long.parseLong(f[0]);
            UnifiedLog log = logs.get(f[2]);
            if (log == null) {
                log = log(f[2]);
                logs.put(f[2], log);
            }
            try {
                out.println(appended(log, Short.parseShort(f[1]), HexFormat.of().parseHex(f[3]), analyze, trim));
            } catch (InvocationTargetException e) {
                out.println(code(e.getCause()));
            } catch (Throwable e) {
                out.println(code(e));
            }
        }
        out.flush();
        System.exit(0);
    }

    private static int code(Throwable e) {
        return Errors.forException(e instanceof RecordValidationException r ? r.invalidException() : e).code();
    }

    private static String appended(UnifiedLog log, short version, byte[] bytes, Method analyze, Method trim) throws Exception {
        MemoryRecords records = MemoryRecords.readableRecords(ByteBuffer.wrap(bytes));
        ProduceRequest.validateRecords(version, records);
        LogAppendInfo info = (LogAppendInfo) analyze.invoke(log, records, AppendOrigin.CLIENT, false, false, LEADER_EPOCH);
        MemoryRecords valid = (MemoryRecords) trim.invoke(log, records, info);
        LogConfig config = log.config();
        Compression target = BrokerCompressionType.targetCompression(config.compression, info.sourceCompression());
        LogValidator validator = new LogValidator(valid, log.topicPartition(), TIME, info.sourceCompression(), target, config.compact,
            RecordBatch.MAGIC_VALUE_V2, config.messageTimestampType, config.messageTimestampBeforeMaxMs,
            config.messageTimestampAfterMaxMs, LEADER_EPOCH, AppendOrigin.CLIENT);
        LogValidator.ValidationResult result = validator.validateMessagesAndAssignOffsets(PrimitiveRef.ofLong(BASE_OFFSET), UNCOUNTED,
            BufferSupplier.NO_CACHING);
        if (result.messageSizeMaybeChanged()) {
            for (RecordBatch batch : result.validatedRecords().batches()) {
                if (batch.sizeInBytes() > config.maxMessageSize()) {
                    throw new RecordTooLargeException("");
                }
            }
        }
        return HexFormat.of().formatHex(Utils.toArray(result.validatedRecords().buffer().duplicate()));
    }

    /** A log of such a topic; nothing is ever written to it. */
    private static UnifiedLog log(String configs) throws Exception {
        Properties properties = new Properties();
        for (String config : configs.split(",")) {
            int at = config.indexOf('=');
            properties.put(config.substring(0, at), config.substring(at + 1));
        }
        File folder = new File(Files.createTempDirectory("validates").toFile(), "t-0");
        folder.mkdirs();
        folder.deleteOnExit();
        KafkaScheduler scheduler = new KafkaScheduler(1);
        scheduler.startup();
        return UnifiedLog.create(folder, new LogConfig(properties), 0, 0, scheduler, new BrokerTopicStats(), Time.SYSTEM,
            60_000, new ProducerStateManagerConfig(60_000, false), 60_000, new LogDirFailureChannel(1), true, Optional.empty());
    }
}
