// What Apache Kafka's own classes say, for the tests beside this file.
//
// reencode: reads messages on standard input, one a line (name, version to read as, version to write as, hex), and prints
//           each as it was written again, or why it was not.
// errors:   prints every error: code, name, whether it is retriable, default message.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.util.HexFormat;
import java.util.List;

import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.MessageUtil;
import org.apache.kafka.common.protocol.Readable;

public class Apache {
    private static final List<String> PLACES = List.of(
        "org.apache.kafka.common.message.%sData",
        "org.apache.kafka.common.message.%s",
        "org.apache.kafka.common.metadata.%s",
        "org.apache.kafka.coordinator.group.generated.%s",
        "org.apache.kafka.coordinator.share.generated.%s",
        "org.apache.kafka.coordinator.transaction.generated.%s");

    public static void main(String[] args) throws Exception {
        if (args[0].equals("errors")) {
            for (Errors e : Errors.values()) {
                boolean retriable = e.exception() instanceof RetriableException;
                System.out.println(e.code() + "\t" + e.name() + "\t" + retriable + "\t" + e.message());
            }
            return;
        }
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
        StringBuilder out = new StringBuilder();
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] words = line.split(" ", -1);
            try {
                out.append(reencode(words[0], Short.parseShort(words[1]), Short.parseShort(words[2]), words[3]));
            } catch (Exception e) {
                out.append(e.getClass().getSimpleName() + ": " + e.getMessage() + " " + e.getCause());
            }
            out.append('\n');
        }
        System.out.print(out);
    }

    private static String reencode(String name, short read, short write, String hex) throws Exception {
        ByteBufferAccessor in = new ByteBufferAccessor(ByteBuffer.wrap(HexFormat.of().parseHex(hex)));
        Message message = (Message) find(name).getConstructor(Readable.class, short.class).newInstance(in, read);
        if (in.remaining() != 0) {
            throw new IllegalStateException(in.remaining() + " bytes are left");
        }
        ByteBuffer out = MessageUtil.toByteBufferAccessor(message, write).buffer();
        byte[] again = new byte[out.remaining()];
        out.get(again);
        return HexFormat.of().formatHex(again);
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
