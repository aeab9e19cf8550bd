// Reads and writes again, with Apache Kafka's own classes, the messages on standard input: name, version, hex a line.
// Prints every line that did not come back as it was, and at the end how many lines there were.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;

import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.MessageUtil;
import org.apache.kafka.common.protocol.Readable;

public class Reencode {
    private static final List<String> PLACES = List.of(
        "org.apache.kafka.common.message.%sData",
        "org.apache.kafka.common.message.%s",
        "org.apache.kafka.common.metadata.%s",
        "org.apache.kafka.coordinator.group.generated.%s",
        "org.apache.kafka.coordinator.share.generated.%s",
        "org.apache.kafka.coordinator.transaction.generated.%s");

    public static void main(String[] args) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        int lines = 0;
        for (String line = in.readLine(); line != null; line = in.readLine(), lines++) {
            String[] words = line.split(" ", -1);
            byte[] bytes = HexFormat.of().parseHex(words[2]);
            String answer;
            try {
                byte[] again = reencode(words[0], Short.parseShort(words[1]), bytes);
                answer = Arrays.equals(again, bytes) ? null : HexFormat.of().formatHex(again);
            } catch (Exception e) {
                answer = e + " " + e.getCause();
            }
            if (answer != null) {
                System.out.println(line + " came back as " + answer);
            }
        }
        System.out.println(lines + " lines");
    }

    private static byte[] reencode(String name, short version, byte[] bytes) throws Exception {
        ByteBufferAccessor in = new ByteBufferAccessor(ByteBuffer.wrap(bytes));
        Message message = (Message) find(name).getConstructor(Readable.class, short.class).newInstance(in, version);
        if (in.remaining() != 0) {
            throw new IllegalStateException(in.remaining() + " bytes are left");
        }
        ByteBuffer out = MessageUtil.toByteBufferAccessor(message, version).buffer();
        byte[] again = new byte[out.remaining()];
        out.get(again);
        return again;
    }

    private static Class<?> find(String name) throws ClassNotFoundException {
        for (String place : PLACES) {
            try {
                return Class.forName(String.format(place, name));
            } catch (ClassNotFoundException e) {
                // It is in another one.
            }
        }
        throw new ClassNotFoundException(name);
    }
}
