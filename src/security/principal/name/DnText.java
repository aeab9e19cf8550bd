import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import javax.security.auth.x500.X500Principal;

/** Reads names as hex of their DER, one a line, and prints hex of the UTF-8 of what getName() says, or "-". */
public class DnText {
    public static void main(String[] args) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        PrintStream out = new PrintStream(System.out, false, StandardCharsets.US_ASCII);
        for (String line; (line = in.readLine()) != null;) {
            String answer;
            try {
                String name = new X500Principal(HexFormat.of().parseHex(line)).getName();
                answer = HexFormat.of().formatHex(name.getBytes(StandardCharsets.UTF_8));
            } catch (RuntimeException e) {
                answer = "-";
            }
            out.println(answer);
        }
        out.flush();
    }
}
